"""What the page shows of a patch, as HTML: pictures, scores, the band table, messages.

Everything that came from outside is escaped here.

What the page shows of a scene, as HTML: the class map to click on, and its legend.
"""

from base64 import b64encode
from collections.abc import Collection, Sequence
from html import escape

from reben.app.demo.answers import Answer, BandRow
from reben.app.demo.locator import centre_of, text_of_degrees
from reben.app.demo.pictures import Picture, as_data_uri, enlarge, png_bytes
from reben.app.demo.scenes import SceneScores
from reben.spec.labels import COLOURS

_UNKNOWN_COLOUR = "#8a94a0"


def alert(text: str | None, kind: str = "problem") -> str:
    """Return a message, or nothing; ``kind`` is problem, notice or hint."""
    if not text:
        return ""
    sign = {"problem": "!", "notice": "i", "hint": "i"}[kind]
    role = "alert" if kind == "problem" else "status"
    return (
        f'<div class="message {kind}" role="{role}"><span aria-hidden="true">{sign}</span>'
        f"<p>{escape(text)}</p></div>"
    )


def views(pictures: Sequence[Picture]) -> str:
    """Return the pictures of a patch, side by side."""
    return f'<div class="views">{"".join(map(_figure, pictures))}</div>'


def _figure(picture: Picture) -> str:
    if picture.image is None:
        inside = (
            f'<div class="blank"><p>No {escape(picture.title.lower())}: bands missing</p></div>'
        )
    else:
        address = as_data_uri(png_bytes(enlarge(picture.image)))
        inside = f'<img src="{address}" alt="{escape(picture.alt)}" width="360" height="360">'
    return (
        f"<figure>{inside}<figcaption><b>{escape(picture.title)}</b> "
        f"<span>{escape(picture.caption)}</span></figcaption></figure>"
    )


def facts(rows: Sequence[tuple[str, str]], locator: str) -> str:
    """Return what is known of a patch beside the map of where it lies.

    Args:
        rows: Names and values.
        locator: The map as SVG, or nothing.
    """
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows
    )
    return f'<div class="facts">{locator}<dl>{items}</dl></div>'


def scores(answer: Answer, true_labels: Collection[str] | None) -> str:
    """Return all scores as bars, the highest with every band first.

    Args:
        answer: What the model says.
        true_labels: The labels that the patch really has, if that is known.
    """
    rows = "".join(_row(answer, k, true_labels) for k in answer.order)
    moved = "<th scope='col' class='delta'>Change</th>" if answer.switched_off else ""
    truth = "<th scope='col' class='truth'>Truth</th>" if true_labels is not None else ""
    return (
        f'<div class="verdict">{_verdict(answer, true_labels)}</div>'
        '<table class="scores"><caption class="unseen">Score of each label, highest first</caption>'
        "<thead class='unseen'><tr><th scope='col'>Label</th><th scope='col'>Bar</th>"
        f"<th scope='col'>Score</th>{moved}{truth}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{_legend(answer, true_labels)}"
    )


def _row(answer: Answer, k: int, true_labels: Collection[str] | None) -> str:
    label, score, limit = answer.labels[k], answer.scores[k], answer.thresholds[k]
    above = answer.is_above(k)
    ghost, delta = "", ""
    if answer.switched_off:
        ghost = f'<i class="ghost" style="left:{100 * answer.full[k]:.2f}%"></i>'
        delta = f'<td class="delta">{_change(score - answer.full[k])}</td>'
    colour = COLOURS.get(label, _UNKNOWN_COLOUR)
    side = "above" if above else "below"
    return (
        f'<tr class="{side}"><th scope="row"><i class="swatch" style="background:{colour}"></i>'
        f"<span>{escape(label)}</span></th>"
        f'<td class="bar" aria-hidden="true"><div class="track"><div class="fill" '
        f'style="width:{100 * score:.2f}%"></div>{ghost}'
        f'<i class="limit" style="left:{100 * limit:.2f}%"></i></div></td>'
        f'<td class="number">{score:.3f}<span class="unseen">, {side} its threshold '
        f"{limit:g}</span></td>{delta}{_truth(label, true_labels, above=above)}</tr>"
    )


def _change(delta: float) -> str:
    if abs(delta) < 0.0005:
        return '<span class="same">±0</span>'
    sign, way = ("▲", "up") if delta > 0 else ("▼", "down")
    return (
        f'<span class="{way}"><span aria-hidden="true">{sign}</span>'
        f"<span class='unseen'>{way} by</span> {abs(delta):.3f}</span>"
    )


def _truth(label: str, true_labels: Collection[str] | None, *, above: bool) -> str:
    if true_labels is None:
        return ""
    if label in true_labels:
        mark = '<span class="hit">✓ found</span>' if above else '<span class="miss">missed</span>'
    else:
        mark = '<span class="false">not there</span>' if above else ""
    return f'<td class="truth">{mark}</td>'


def _verdict(answer: Answer, true_labels: Collection[str] | None) -> str:
    above = [answer.labels[k] for k in answer.order if answer.is_above(k)]
    text = f"<h2>{len(above)} label{'' if len(above) == 1 else 's'} above threshold</h2>"
    if true_labels is None:
        return text
    found = [label for label in above if label in true_labels]
    return (
        f"{text}<p>The reference map has {len(true_labels)}: {len(found)} found, "
        f"{len(true_labels) - len(found)} missed; {len(above) - len(found)} not there.</p>"
    )


def _legend(answer: Answer, true_labels: Collection[str] | None) -> str:
    limits = set(answer.thresholds)
    limit = f"threshold {limits.pop():g}" if len(limits) == 1 else "threshold of the label"
    parts = [f'<span><i class="key limit"></i>{limit}</span>']
    parts.append('<span><i class="swatch"></i>colour on CORINE maps</span>')
    if answer.switched_off:
        parts.append('<span><i class="key ghost"></i>score with every band</span>')
    if true_labels is not None:
        parts.append("<span>truth: labels of the CORINE 2018 reference map</span>")
    return f'<div class="legend">{"".join(parts)}</div>'


def moves(answer: Answer) -> str:
    """Return what switching off does: each group alone, and what is switched off now."""
    rows = "".join(
        f"<tr><th scope='row'>{escape(group)}</th><td>{escape(label)}</td>"
        f"<td class='number'>{_change(change)}</td></tr>"
        for group, (label, change) in answer.moves.items()
    )
    now = ""
    if answer.switched_off:
        changed = answer.changed()
        what = "no score crosses its threshold."
        if changed:
            what = f"{len(changed)} cross{'es' if len(changed) == 1 else ''} the threshold: "
            what += f"{'; '.join(changed)}."
        off = ", ".join(answer.switched_off)
        now = f"<p role='status'>Without <b>{escape(off)}</b>, {escape(what)}</p>"
    return (
        f"{now}<table class='moves'><caption>Switched off alone, what moves most</caption>"
        "<thead class='unseen'><tr><th scope='col'>Bands</th><th scope='col'>Label</th>"
        f"<th scope='col'>Change</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def bands(rows: Sequence[BandRow]) -> str:
    """Return the table of what the model expects and what it got."""
    body = "".join(_band_row(row) for row in rows)
    heads = ("Channel", "Band", "Sensor", "Expected", "Got", "Type", "Min", "Median", "Max", "")
    head = "".join(f"<th scope='col'>{name or 'Status'}</th>" for name in heads)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Bands"><table class="bands">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _band_row(row: BandRow) -> str:
    values = ("", "", "") if row.values is None else tuple(_value(v, row) for v in row.values)
    kind = "wrong" if row.problem else "right" if row.position is not None else "unused"
    cells = (
        "" if row.position is None else str(row.position),
        row.name,
        row.sensor,
        f"{row.expected} x {row.expected}",
        row.got or "nothing",
        row.dtype or "",
        *values,
    )
    inside = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr class="{kind}">{inside}<td class="status">{escape(row.status)}</td></tr>'


def _value(value: float, row: BandRow) -> str:
    return f"{value:.2f}" if row.sensor == "Sentinel-1" or abs(value) < 10 else f"{value:.0f}"


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
        found.append(("Centre", text_of_degrees(*centre_of(place))))
        corner = f"{place.left:,.0f} m E, {place.top:,.0f} m N, UTM {place.zone}"
        found.append(("Upper left corner", corner))
    found.append(("Scene", scene.name))
    about = scene.about
    return found + [(name, about[tag]) for tag, name in _TAGS.items() if tag in about]


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"
