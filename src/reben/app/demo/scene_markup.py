"""What the page shows of a scene, as HTML: the class map to click on, and its legend."""

from base64 import b64encode
from html import escape

from reben.app.demo.pictures import as_data_uri, png_bytes
from reben.app.demo.places import text_of_degrees
from reben.app.demo.scenes import SceneScores
from reben.spec.labels import COLOURS

_UNKNOWN_COLOUR = "#8a94a0"
_TAGS = {
    "model": "Model",
    "bands": "Its bands",
    "stride": "Metres from window to window",
    "max_bad": "Most bad pixels in a window",
    "boa_offset": "BOA offset",
    "reben_version": "Version of reben",
}

ON_LOAD = """
let waiting;
const select = (frame, column, row) => {
  const columns = +frame.dataset.columns, rows = +frame.dataset.rows;
  column = Math.max(0, Math.min(columns - 1, column));
  row = Math.max(0, Math.min(rows - 1, row));
  frame.dataset.column = column;
  frame.dataset.row = row;
  const cursor = frame.querySelector('.cursor');
  cursor.style.left = 100 * column / columns + '%';
  cursor.style.top = 100 * row / rows + '%';
  clearTimeout(waiting);
  waiting = setTimeout(() => trigger('select', {column, row}), 60);
};
element.addEventListener('click', (event) => {
  const frame = event.target.closest('.frame');
  if (!frame) return;
  const box = frame.querySelector('img').getBoundingClientRect();
  select(frame, Math.floor((event.clientX - box.left) / box.width * +frame.dataset.columns),
    Math.floor((event.clientY - box.top) / box.height * +frame.dataset.rows));
});
const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
element.addEventListener('keydown', (event) => {
  const frame = event.target.closest('.frame'), step = steps[event.key];
  if (!frame || !step) return;
  event.preventDefault();
  select(frame, +frame.dataset.column + step[0], +frame.dataset.row + step[1]);
});
"""
"""Makes the class map answer to the mouse and to the arrow keys; runs in the browser."""


def class_map(scene: SceneScores | None) -> str:
    """Return the class map with a cursor on its middle cell, or what to do to get one."""
    if scene is None:
        return ""
    columns, rows = scene.size
    column, row = scene.middle
    label = (
        f"Class map of {scene.name}, {columns} by {rows} cells, north is up: the label with the "
        "highest score of each cell. Arrow keys move from cell to cell."
    )
    alt = f"Class map of {scene.name}; mostly " + ", ".join(
        f"{name} {share:.0%}" for name, share in scene.shares()[:3]
    )
    image = as_data_uri(png_bytes(scene.class_map()))
    cursor = (
        f"left:{100 * column / columns:.4f}%;top:{100 * row / rows:.4f}%;"
        f"width:{100 / columns:.4f}%;height:{100 / rows:.4f}%"
    )
    return (
        f'<div class="scene"><div class="frame" tabindex="0" role="application" '
        f'aria-label="{escape(label)}" data-columns="{columns}" data-rows="{rows}" '
        f'data-column="{column}" data-row="{row}">'
        f'<img src="{image}" alt="{escape(alt)}" width="{columns}" height="{rows}" '
        f'draggable="false"><div class="cursor" style="{cursor}"></div></div>'
        "<p>Click a cell, or move with the arrow keys. Chequered: no scores "
        "(no data, cloud or shadow).</p></div>"
    )


def legend(scene: SceneScores | None) -> str:
    """Return the labels on the class map with their colours and shares."""
    if scene is None:
        return ""
    items = "".join(
        f'<li><i class="swatch" style="background:{COLOURS.get(label, _UNKNOWN_COLOUR)}"></i>'
        f"{escape(label)} <b>{_percent(share)}</b></li>"
        for label, share in scene.shares()
    )
    return f'<ul class="classes" aria-label="Labels on the class map">{items}</ul>'


def quicklook(scene: SceneScores | None) -> str:
    """Return the picture that was drawn with the scores, if there is one."""
    if scene is None or scene.quicklook is None:
        return ""
    address = "data:image/png;base64," + b64encode(scene.quicklook).decode()
    alt = f"Quick look of {scene.name}: true colour beside the dominant class, with a legend."
    return f'<div class="quicklook"><img src="{address}" alt="{escape(alt)}"></div>'


def cell_facts(scene: SceneScores, column: int, row: int) -> list[tuple[str, str]]:
    """Return what is known of a cell and of its scene: names and values."""
    columns, rows = scene.size
    found = [("Cell", f"column {column} of {columns}, row {row} of {rows}, counted from 0")]
    place = scene.cell_place(column, row)
    if place is not None:
        found.append(("Centre", text_of_degrees(*place.centre)))
        corner = f"{place.left:,.0f} m E, {place.top:,.0f} m N, UTM {place.zone}"
        found.append(("Upper left corner", corner))
    found.append(("Scene", scene.name))
    about = scene.about
    return found + [(name, about[tag]) for tag, name in _TAGS.items() if tag in about]


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"
