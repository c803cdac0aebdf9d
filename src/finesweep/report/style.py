"""The page's style sheet: light and dark, for telephones, too.

The colours are those of Okabe and Ito (2008), and lighter ones of the same hues in the dark.
"""

CSS = """
:root { color-scheme: light dark; --paper: #ffffff; --card: #f6f7f9; --ink: #1b1f24; --muted: #59636e;
  --grid: #d5dae0; --link: #0a5da8; --blue: #0072b2; --red: #d55e00; --orange: #e69f00; --green: #009e73;
  --purple: #aa4a80; --grey: #8b949e; --mark: #fff1cc }
@media (prefers-color-scheme: dark) { :root { --paper: #0f1317; --card: #181d23; --ink: #e7ebf0;
  --muted: #a3adb8; --grid: #343c46; --link: #7cc0ff; --blue: #56b4e9; --red: #f0803c; --orange: #f0c04c;
  --green: #2fc79a; --purple: #d991b6; --grey: #79838e; --mark: #4a3d12 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 84rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2 }
h2 { margin: 2.5rem 0 0; font-size: 1.4rem } h3 { margin: 2rem 0 .5rem; font-size: 1.1rem }
p { margin: .4rem 0; max-width: 75ch } ul { padding-left: 1.2rem; max-width: 100ch }
a { color: var(--link) } .muted, figcaption { color: var(--muted) }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr)); gap: .75rem;
  margin: 1rem 0 }
.facts div { background: var(--card); border-radius: .5rem; padding: .75rem 1rem }
.facts dt { color: var(--muted); font-size: .85rem } .facts dd { margin: 0 }
.facts dd b { display: block; font-size: 1.35rem; line-height: 1.3; font-weight: 600 }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem }
figure { margin: 0; background: var(--card); border-radius: .5rem; padding: .75rem }
figure h4 { margin: 0 0 .25rem; font-size: .95rem }
figcaption { font-size: .85rem; line-height: 1.4; margin-top: .25rem }
svg { display: block; width: 100%; height: auto; max-width: 40rem }
svg * { stroke-linejoin: round; stroke-linecap: butt }
svg text { font-family: system-ui, sans-serif !important }
svg a:hover *, svg a:focus * { stroke: var(--ink) !important; stroke-width: 2px !important }
.charts + .scroll { margin-top: 1rem }
.scroll { overflow-x: auto; max-height: 40rem; overflow-y: auto; border: 1px solid var(--grid);
  border-radius: .5rem; overflow-wrap: normal }
table { border-collapse: collapse; font-size: .85rem; width: 100% }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid) }
th { position: sticky; top: 0; background: var(--card); font-weight: 600 }
.n { text-align: right }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap }
tr:target td { background: var(--mark) }
pre { margin: .2rem 0 .8rem; padding: .6rem .8rem; background: var(--card); border-radius: .5rem;
  white-space: pre-wrap; font: .85rem/1.45 ui-monospace, monospace }
@media print { .scroll { max-height: none; overflow: visible } }
"""
