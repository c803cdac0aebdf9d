"""The page: one HTML file without scripts and without anything to load, of one study or of several."""

from collections.abc import Sequence

from finesweep.report.comparison import comparison
from finesweep.report.facts import Facts
from finesweep.report.markup import text
from finesweep.report.sections import study_sections
from finesweep.report.style import CSS

# The page loads nothing and runs nothing, whatever a name in it says.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(studies: Sequence[Facts]) -> str:
    """Writes the page. Several studies are compared first."""
    title = ", ".join(facts.name for facts in studies)
    if len(studies) == 1:
        body = study_sections(studies[0])
    else:
        body = comparison(studies) + "".join(
            f"<h2 id={facts.prefix}study>{text(facts.name)}</h2>\n{study_sections(facts)}"
            for facts in studies
        )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{text(title)} – finesweep</title>
<link rel="icon" href="data:,">
<style>{CSS}</style>
</head>
<body>
<header><h1>{text(title)}</h1></header>
<main>
{body}</main>
</body>
</html>
"""
