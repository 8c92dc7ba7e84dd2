"""What we show: tables to figures to one offline HTML page. No torch, no model, nothing but a run folder's tables.

    section.py   the parts a section is made of: Prose, Figure, Grid, Tokens, Drawing
    heads.py ... one file per study: `section(tables) -> Section`
    asked.py claims.py trust.py   the parts that every page has
    page.py      the order of the page; `write(run folder)`
    flow.py      a process as one picture: boxes, arrows with measured numbers
    charts.py    curves with bands, intervals, matrices, dots, switches: what sections share
    packing.py   how tables travel in the page: as they are while small, packed beyond
    figures.py   every chart as SVG and PNG beside the page
    theme.py     colours and chart defaults, for light and for dark
    html.py      elements whose text cannot become markup, whatever it says
    assets/      the page's style and its three scripts

How a section is added. Write `report/<study>.py` with one public function

    def section(tables: Mapping[str, pl.DataFrame]) -> Section

It gets the tables of the run folder by name (as declared in `results/schema/<study>.py`) and nothing else; a table
may be absent or empty, then leave out what it would have shown and say so in a `Prose`. Return blocks in reading order:
a story with its pictures. A `Figure` is one altair chart over one data set (`alt.Chart(MAIN)`, fields of `data`): it
becomes interactive in the page, an SVG and a PNG in figures/, and a CSV download; take it from `charts.py` where you
can, and give it a `switch` instead of drawing it twice; where rows are many (every head, every score), say with `first` which
of them are drawn before anybody touches a switch. Use no colours of your own: the theme gives `heatmap`
(sequential), `diverging` (with domainMid) and `category`, in light and in dark. A `Grid` is a table to read, sort and
download; a `Drawing` is a picture of your own SVG. Strings are escaped for you. A study without such a file is shown by
`plain.py`. That is all: the page finds the file by the study's name.
"""
