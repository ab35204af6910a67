// Sends the input of COPY … FROM STDIN to the server without copying it.

import type { Socket } from "node:net";
import type { TransactionSql } from "postgres";

const COPY_DATA = "d".charCodeAt(0);
/** A message is its type, then its length, which counts itself, then its content. */
const TYPE_BYTES = 1;
const LENGTH_BYTES = 4;

/**
 * Begins a COPY and sends its whole input. The input goes to the socket as it is: the driver would copy it into fresh
 * memory first, which is a tenth of what the client does for a batch of events.
 *
 * @param socket of the connection that the transaction runs on
 * @param input must stay as it is until the transaction has ended
 * @returns when the end is sent. Whether the server takes the rows is not known then: the driver does not report an error
 *   that answers the COPY (porsager/postgres, issue 1173), but in a failed transaction the next statement fails too
 * @throws what the driver throws where the COPY cannot begin, or the connection is lost
 */
export async function copyIn(
  tx: TransactionSql,
  socket: Socket,
  statement: string,
  input: Uint8Array,
): Promise<void> {
  const stream = await tx.unsafe(statement).writable();
  await new Promise<void>((resolve, reject) => {
    // The listener stays: a connection that is lost later emits an error here too, and an error without a listener
    // ends the process.
    stream.on("error", reject);
    // oxlint-disable no-underscore-dangle, typescript/unbound-method -- a Writable calls it to end the stream
    const sendEnd = stream._final;
    // The stream may never emit "finish", and the driver accepts no statement before the end is sent.
    stream._final = (callback) => {
      sendEnd.call(stream, callback);
      resolve();
    };
    // oxlint-enable no-underscore-dangle, typescript/unbound-method
    const head = Buffer.allocUnsafe(TYPE_BYTES + LENGTH_BYTES);
    head[0] = COPY_DATA;
    head.writeUInt32BE(LENGTH_BYTES + input.length, TYPE_BYTES);
    socket.write(head);
    socket.write(input, (error) => (error ? reject(error) : stream.end()));
  });
}
