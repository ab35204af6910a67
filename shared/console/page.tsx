// The name of a program in; the HTML around its console out. What moves is put into it by client/main.tsx.
/** @jsxImportSource hono/jsx */

/** A dot, as an address: the browser shall ask for no file. */
const ICON =
  "data:image/svg+xml," +
  encodeURIComponent(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" fill="#2f6fdb"/></svg>',
  );

/** @param props.build what the page was made from, so that it notices when it is out of date */
export function Page({ program, build }: { program: string; build: string }) {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{program}, event-pipeline</title>
        <link rel="icon" href={ICON} />
        <link rel="stylesheet" href={`/console.css?${build}`} />
        <script type="module" src={`/console.js?${build}`} />
      </head>
      <body data-program={program} data-build={build}>
        <a class="skip" href="#main">
          Skip to the figures
        </a>
        <div id="console">
          <noscript>
            <main class="plain">
              <h1>event-pipeline, {program}</h1>
              <p>
                This page draws its figures with JavaScript. The same is there as JSON:{" "}
                <a href="/api">/api</a>, and for Prometheus: <a href="/metrics">/metrics</a>.
              </p>
            </main>
          </noscript>
        </div>
      </body>
    </html>
  );
}
