"""The query page at /graphql for browsers: GraphiQL, from npm packages that are pinned in the lock file beside this.

Its assets are served locally once `make ide` has fetched them. Until then the page takes the very same files from a
CDN, by hashes that the browser checks: `python -m gateway.ide` computes them from the fetched packages.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
MODULES = FOLDER / "node_modules"
LOCK = FOLDER / "package-lock.json"
INTEGRITY = FOLDER / "integrity.json"
CDN = "https://unpkg.com"
MOUNT = "/ide"

# Package and file of what the page loads, in this order.
ASSETS = (
    ("graphiql", "graphiql.min.css"),
    ("react", "umd/react.production.min.js"),
    ("react-dom", "umd/react-dom.production.min.js"),
    ("graphiql", "graphiql.min.js"),
)

_START = """
const answered = GraphiQL.createFetcher({ url: "/graphql" });
// Subscriptions come as server-sent events.
async function* followed(asked, headers) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream", ...headers },
    body: JSON.stringify(asked),
  });
  if (!response.ok) return yield await response.json();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\\n\\n");
      rest = events.pop();
      for (const event of events) {
        const data = event.split("\\n").find((line) => line.startsWith("data: "));
        if (data) yield JSON.parse(data.slice(6));
      }
    }
  } finally {
    await reader.cancel();
  }
}
const subscribes = (asked, document) => document?.definitions.some((each) =>
  each.operation === "subscription" && (!asked.operationName || each.name?.value === asked.operationName));
const fetcher = (asked, options) => subscribes(asked, options?.documentAST)
  ? followed(asked, options.headers) : answered(asked, options);
const root = ReactDOM.createRoot(document.getElementById("graphiql"));
root.render(React.createElement(GraphiQL, {
  fetcher,
  defaultEditorToolsVisibility: "headers",
  shouldPersistHeaders: false,
  defaultQuery: "# Without a token you see what is public. With one, under Headers:\\n" +
    "# { \\"Authorization\\": \\"Bearer ...\\" }\\n" +
    "{\\n  viewer { kind }\\n  partners { nodes { name trade country } }\\n}\\n",
}));
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Queries to the alliance</title>
<link rel="icon" href="data:,">
<style>{style}</style>
{assets}
</head>
<body>
<div id="graphiql"><noscript>This page needs JavaScript.</noscript></div>
<script>{start}</script>
</body>
</html>
"""
_STYLE = "body { margin: 0; } #graphiql { height: 100vh; }"


@dataclass(frozen=True)
class Page:
    """The page, and the policy by which a browser lets it load what it needs and nothing else."""

    html: str
    content_security_policy: str


def page() -> Page:
    """The page with local assets if they have been fetched, else with those of the CDN."""
    local = installed()
    tags = [_tag(package, file, local=local) for package, file in ASSETS]
    origin = "'self'" if local else CDN
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {origin} '{_hash(_START.encode(), 'sha256')}'",
            # GraphiQL sets styles on its elements as it goes.
            f"style-src {origin} 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Page(_PAGE.format(style=_STYLE, assets="\n".join(tags), start=_START), policy)


def installed() -> bool:
    """Whether all assets can be served locally."""
    return all((MODULES / package / file).is_file() for package, file in ASSETS)


def versions() -> dict[str, str]:
    """The pinned version of each package that the page uses."""
    packages = json.loads(LOCK.read_text())["packages"]
    return {package: packages[f"node_modules/{package}"]["version"] for package, _ in ASSETS}


def computed_integrity() -> dict[str, str]:
    """The hashes of the fetched files, by their path at the CDN."""
    return {_path(package, file): _hash((MODULES / package / file).read_bytes(), "sha384") for package, file in ASSETS}


def _tag(package: str, file: str, *, local: bool) -> str:
    if local:
        source, check = f"{MOUNT}/{package}/{file}", ""
    else:
        path = _path(package, file)
        hashes: dict[str, str] = json.loads(INTEGRITY.read_text())
        source, check = f"{CDN}/{path}", f' integrity="{hashes[path]}" crossorigin="anonymous"'
    if file.endswith(".css"):
        return f'<link rel="stylesheet" href="{source}"{check}>'
    return f'<script src="{source}"{check}></script>'


def _path(package: str, file: str) -> str:
    return f"{package}@{versions()[package]}/{file}"


def _hash(content: bytes, algorithm: str) -> str:
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"
