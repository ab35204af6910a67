// Makes certificate authorities and certificates with openssl.
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeOnExit } from "../../shared/runtime/child-reaper.ts";

/** Why no certificates can be made here; undefined where they can. */
export function whyNoOpenssl(): string | undefined {
  return Bun.which("openssl") === null ? "openssl is not installed" : undefined;
}

/** PEM files. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** The subject's common name. */
  readonly name: string;
  /** As in `DNS:localhost,IP:127.0.0.1`; a client's certificate needs none. */
  readonly hosts?: string;
  /** Expired yesterday. */
  readonly isExpired?: boolean;
}

/** An authority that no system trusts. */
export class CertificateAuthority {
  readonly certificate: string;
  readonly #key: string;
  readonly #directory: string;
  #made = 0;

  private constructor(directory: string) {
    this.#directory = directory;
    this.certificate = join(directory, "ca.crt");
    this.#key = join(directory, "ca.key");
  }

  static async make(name = "A private authority"): Promise<CertificateAuthority> {
    const directory = await mkdtemp(join(tmpdir(), "event-pipeline-certificates-"));
    removeOnExit(directory);
    const authority = new CertificateAuthority(directory);
    await openssl(
      "req",
      "-new",
      "-x509",
      "-nodes",
      "-newkey",
      "rsa:2048",
      "-days",
      "30",
      "-subj",
      `/CN=${name}`,
      "-out",
      authority.certificate,
      "-keyout",
      authority.#key,
    );
    return authority;
  }

  /** Signs a new certificate. */
  async sign({ name, hosts, isExpired = false }: CertificateOptions): Promise<Certificate> {
    const at = (ending: string) => join(this.#directory, `${this.#made}.${ending}`);
    this.#made++;
    const made = { certificate: at("crt"), key: at("key") };
    const [request, extensions] = [at("csr"), at("ext")];
    await openssl(
      "req",
      "-new",
      "-nodes",
      "-newkey",
      "rsa:2048",
      "-subj",
      `/CN=${name}`,
      "-out",
      request,
      "-keyout",
      made.key,
    );
    await writeFile(extensions, hosts === undefined ? "" : `subjectAltName=${hosts}\n`);
    const days = isExpired ? "-1" : "30";
    await openssl(
      "x509",
      "-req",
      "-in",
      request,
      "-CA",
      this.certificate,
      "-CAkey",
      this.#key,
      "-CAcreateserial",
      "-days",
      days,
      "-extfile",
      extensions,
      "-out",
      made.certificate,
    );
    return made;
  }
}

async function openssl(...args: string[]): Promise<void> {
  const child = Bun.spawn(["openssl", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  const errors = await child.stderr.text();
  if ((await child.exited) !== 0) throw new Error(`openssl ${args[0]} failed: ${errors.trim()}`);
}
