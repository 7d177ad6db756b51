"""Pages of plain HTML, without any script, for what must work when nothing else does."""

from __future__ import annotations

from html import escape
from string import Template

from starlette.responses import HTMLResponse

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
:root { --ink: #1c1e21; --paper: #fff; --soft: #5a6068; --line: #c9ced6; --strong: #1f5fbf; --on-strong: #fff;
  --bad: #a11a1a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --paper: #16181c; --soft: #a8b0ba; --line: #444a52; --strong: #8ab4f8; --on-strong: #16181c;
    --bad: #ff9b9b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1rem; max-width: 46rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
label { display: block; margin: .75rem 0; }
input:not([type=checkbox]) { display: block; width: 100%; max-width: 22rem; padding: .5rem; font: inherit; color: inherit;
  background: transparent; border: 1px solid var(--line); border-radius: .375rem; }
button { padding: .45rem 1rem; font: inherit; color: var(--on-strong); background: var(--strong); border: 0;
  border-radius: .375rem; cursor: pointer; }
button.small { padding: .15rem .6rem; } td form { display: inline; }
:focus-visible { outline: 3px solid var(--strong); outline-offset: 2px; }
table { width: 100%; border-collapse: collapse; } th, td { text-align: left; padding: .4rem .5rem .4rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
td:first-child { overflow-wrap: anywhere; min-width: 4.5rem; } td .soft { overflow-wrap: anywhere; font-size: .85rem; }
.soft { color: var(--soft); } .said { font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
a { color: var(--strong); }
</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def page(title: str, body: str, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A page; `body` is HTML, in which every text went through `text`."""
    return HTMLResponse(PAGE.substitute(title=text(title), body=body), status, headers)


def text(value: object) -> str:
    """A text as HTML that shows it and does nothing else."""
    return escape(str(value), quote=True)


def told(sentence: str, *, bad: bool = False) -> str:
    """A sentence for whoever looks at the page or has it read out; nothing for ""."""
    return f'<p role="{"alert" if bad else "status"}" class="{"bad" if bad else "said"}">{text(sentence)}</p>' if sentence else ""
