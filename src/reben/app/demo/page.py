"""The page itself: its parts, and what they react to. From here on, Gradio is needed."""

import json
from importlib.resources import files
from typing import Any

import gradio as gr

from reben.app.demo.handlers import PageState
from reben.app.demo.limits import KEPT_SECONDS
from reben.app.demo.markup import draw

_OFF = (
    "Off: the band's training mean in every pixel, which is 0 after normalisation. The model was "
    "never trained on that, so this shows what it looks at, not how it would do without."
)
_FAILED = f"""() => [{
    json.dumps(
        draw("alert", "The page is busy, so this could not be shown. Try again in a moment.")
    )
}, '', '', '', '', '']"""
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}


def build(state: PageState) -> gr.Blocks:
    """Return the page for a model."""
    page: gr.Blocks = gr.Blocks(
        title="reben demo", analytics_enabled=False, delete_cache=(600, KEPT_SECONDS)
    )
    with page:
        _html(draw("head", state.model_name, state.model.config, state.stated), elem_id="head")
        with gr.Tabs():
            with gr.Tab("Patch", id="patch"):
                _patch_tab(page, state)
            with gr.Tab("Scene", id="scene"):
                _scene_tab(state)

        def end(request: gr.Request) -> None:
            state.memory.end(request.session_hash or "")

        page.unload(end)
    return page


def look() -> dict[str, Any]:
    """Return theme and style of the page, for its launch. No font comes from elsewhere."""
    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.emerald,
        neutral_hue=gr.themes.colors.slate,
        font=sans,
        font_mono=["ui-monospace", "Menlo", "DejaVu Sans Mono", "monospace"],
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_sm,
    ).set(
        checkbox_background_color_selected="*primary_700",
        checkbox_background_color_selected_dark="*primary_700",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_background_fill="#f4f6f8",
        body_background_fill_dark="#0e151c",
    )
    return {
        "theme": theme,
        "css": _file("style.css"),
        "head": '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "footer_links": [],
    }


def _file(name: str) -> str:
    return files("reben.app.demo").joinpath(name).read_text(encoding="utf-8")


def _html(value: str = "", **options: Any) -> gr.HTML:  # noqa: ANN401 - Gradio's own
    return gr.HTML(value, apply_default_css=False, **options)


def _area(name: str) -> gr.Column:
    return gr.Column(elem_classes=f"area-{name}", min_width=300)


def _upload(label: str, name: str) -> gr.File:
    return gr.File(label=label, file_count="multiple", height=120, elem_id=name)


def _one_at_a_time(name: str) -> dict[str, Any]:
    """Events of one name wait for each other, in the order in which they came."""
    return {"concurrency_limit": 1, "concurrency_id": name}


def _patch_tab(page: gr.Blocks, state: PageState) -> None:
    samples, groups = state.samples, state.groups
    with gr.Row(elem_classes="patch-grid"):
        with _area("patch"):
            choice = gr.Dropdown(
                choices=samples.choices if samples else [],
                value=samples.first if samples else None,
                label="Real patch, with its true labels",
                visible=samples is not None,
                elem_id="sample",
            )
            with gr.Accordion("Upload your own patch", open=samples is None):
                label = "Band TIFFs named <patch>_<BAND>.tif, or a zip of a patch folder"
                upload = _upload(label, "patch-upload")
            views = _html()
        with _area("scores"):
            message = _html(elem_id="message")
            scores = _html(elem_id="scores")
            with gr.Row():
                small: dict[str, Any] = {"interactive": False, "size": "sm", "min_width": 80}
                downloads = [
                    gr.DownloadButton(f"Save as {name}", elem_id=f"save-{name}", **small)
                    for name in ("JSON", "CSV", "PNG")
                ]
        with _area("groups"):
            kept = gr.CheckboxGroup(
                choices=[(f"{name}: {' '.join(its)}", name) for name, its in groups.items()],
                value=list(groups),
                label="Which bands does it look at? Switch some off",
                info=_OFF,
                elem_id="groups",
            )
            moves = _html(elem_id="moves")
        with _area("facts"):
            facts = _html()
    with gr.Accordion("What the model expects, and what it got", open=False) as expected:
        bands = _html(elem_id="bands")

    boxes, parts = [choice, upload, kept], [message, views, facts, scores, moves, bands, expected]
    every = json.dumps(list(groups))
    asked = gr.Textbox(json.dumps([choice.value, [], list(groups)]), visible="hidden")

    def show(
        choice: str | None, paths: list[str] | None, kept: list[str], request: gr.Request
    ) -> tuple[Any, ...]:
        tab = state.show(choice, paths, kept, request.session_hash or "")
        waiting = [gr.DownloadButton(value=None, interactive=False)] * len(downloads)
        return (*tab[:6], gr.Accordion(open=not tab.are_bands_right), *waiting)

    def results(
        choice: str | None, paths: list[str] | None, kept: list[str], request: gr.Request
    ) -> list[Any]:
        written = state.results(choice, paths, kept, request.session_hash or "")
        return [gr.DownloadButton(value=path, interactive=path is not None) for path in written]

    # Each choice changes the boxes in the browser at once, and then asks to show what they hold.
    # No answer of the server changes a box, so none can undo a choice that was made meanwhile.
    for event, box in (
        (choice.input, "choice"),
        (upload.upload, "upload"),
        (upload.clear, "files"),
        (kept.input, "kept"),
    ):
        js = f"(...boxes) => ({_file('boxes.js')})('{box}', ...boxes, {every})"
        event(None, [*boxes, asked], [asked, *boxes], js=js, **_PRIVATE)
    last: dict[str, Any] = {"trigger_mode": "always_last", **_one_at_a_time("patch"), **_PRIVATE}
    shown = gr.on([asked.change, page.load], show, boxes, [*parts, *downloads], **last)
    shown.then(results, boxes, downloads, **last)
    shown.failure(None, None, parts[:-1], js=_FAILED, **_PRIVATE)


def _scene_tab(state: PageState) -> None:
    first = state.show_scene()
    with gr.Row(elem_classes="scene-grid"):
        with _area("map"):
            message = _html(elem_id="scene-message")
            class_map = _html(first.class_map, js_on_load=_file("scene.js"), elem_id="class-map")
        with _area("scores"):
            scores = _html(first.scores, elem_id="cell-scores")
        with _area("legend"):
            legend = _html(first.legend, elem_id="legend")
            with gr.Accordion("Open the result of reben predict-scene", open=state.scene is None):
                upload = _upload("scores.tif, and map.png if there is one", "scene-upload")
        with _area("facts"):
            facts = _html(first.facts, elem_id="cell-facts")
    quicklook = _html(first.quicklook)
    parts = [message, class_map, legend, quicklook, scores, facts]

    def show(paths: list[str] | None, request: gr.Request) -> tuple[str, ...]:
        return tuple(state.show_scene(paths, request.session_hash or ""))

    def click(paths: list[str] | None, event: gr.EventData, request: gr.Request) -> Any:  # noqa: ANN401
        visit = request.session_hash or ""
        told = (getattr(event, name, None) for name in ("scene", "column", "row"))
        cell = state.cell(paths, visit, *told)
        return (gr.skip(), gr.skip()) if cell is None else cell

    one = _one_at_a_time("scene")  # so that the last click is shown last
    gr.on(
        [upload.upload, upload.clear],
        show,
        upload,
        parts,
        trigger_mode="always_last",
        **one,
        **_PRIVATE,
    )
    class_map.select(
        click,
        upload,
        [scores, facts],
        trigger_mode="multiple",
        api_visibility="private",
        show_progress="hidden",
        **one,
    )
