// Renders the HTML around a program's console. client/main.tsx fills it.
/** @jsxImportSource hono/jsx */

/** A dot as a data URL, so that the browser requests no file. */
const ICON =
  "data:image/svg+xml," +
  encodeURIComponent(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" fill="#2f6fdb"/></svg>',
  );

/** @param props.build the hash of the assets, by which the page notices that it is outdated */
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
                This page needs JavaScript. The same data is available as JSON at <a href="/api">/api</a>, and
                for Prometheus at <a href="/metrics">/metrics</a>.
              </p>
            </main>
          </noscript>
        </div>
      </body>
    </html>
  );
}
