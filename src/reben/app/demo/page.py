"""The page itself: its parts, and what they react to. From here on, Gradio is needed."""

from importlib.resources import files
from typing import Any

import gradio as gr

from reben.app.demo.answers import PatchResult
from reben.app.demo.handlers import PageState, PatchTab
from reben.app.demo.markup import draw
from reben.app.demo.patches import ShownPatch
from reben.app.demo.scenes import SceneScores

_KEPT_SECONDS = 3600
_OFF = (
    "Off: the band's training mean in every pixel, which is 0 after normalisation. The model was "
    "never trained on that, so this shows what it looks at, not how it would do without."
)
_NO_SAMPLES = (
    "There is no sample to choose from. Fetch 24 real patches with: reben sample "
    "~/.cache/reben/sample, or start the page with --data STORE."
)
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}


def build(state: PageState) -> gr.Blocks:
    """Return the page for a model."""
    page: gr.Blocks = gr.Blocks(
        title="reben demo", analytics_enabled=False, delete_cache=(600, _KEPT_SECONDS)
    )
    with page:
        _html(draw("head", state.model_name, state.model.config))
        with gr.Tabs():
            with gr.Tab("Patch", id="patch"):
                _patch_tab(page, state)
            with gr.Tab("Scene", id="scene"):
                _scene_tab(state)
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


def _memory() -> gr.State:
    return gr.State(None, time_to_live=_KEPT_SECONDS)


def _patch_tab(page: gr.Blocks, state: PageState) -> None:
    patch, result = _memory(), _memory()
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
            hint = "" if samples else draw("alert", _NO_SAMPLES, "hint")
            message = _html(hint, elem_id="message")
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

    parts = [patch, result, message, views, facts, scores, moves, bands, expected, kept]

    def shown(tab: PatchTab) -> tuple[Any, ...]:
        return (*tab[:8], gr.Accordion(open=not tab.are_bands_right), list(groups))

    def chosen(name: str | None) -> tuple[Any, ...]:
        return (*shown(state.choose(name)), gr.skip(), None)

    def uploaded(paths: list[str] | None) -> tuple[Any, ...]:
        return (*shown(state.upload(paths)), None, gr.skip())

    def switch(patch: ShownPatch | None, kept: list[str], bands: str) -> tuple[Any, ...]:
        return (*state.switch(patch, kept, bands)[:8], gr.skip(), gr.skip())

    def results(patch: ShownPatch | None, result: PatchResult | None) -> list[Any]:
        paths = state.results(patch, result)
        return [gr.DownloadButton(value=path, interactive=path is not None) for path in paths]

    inputs = [*parts, choice, upload]
    started = [
        choice.input(chosen, choice, inputs, **_PRIVATE),
        upload.upload(uploaded, upload, inputs, **_PRIVATE),
        kept.input(switch, [patch, kept, bands], parts, trigger_mode="always_last", **_PRIVATE),
        page.load(lambda name: shown(state.choose(name)), choice, parts, **_PRIVATE),
    ]
    for event in started:
        event.then(results, [patch, result], downloads, api_visibility="private")


def _scene_tab(state: PageState) -> None:
    scene, first = _memory(), state.show_scene(state.scene)
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
    parts = [scene, message, class_map, legend, quicklook, scores, facts]

    def click(scene: SceneScores | None, event: gr.EventData) -> tuple[str, str]:
        return state.cell(scene or state.scene, event.column, event.row)

    upload.upload(lambda paths: tuple(state.upload_scene(paths)), upload, parts, **_PRIVATE)
    class_map.select(
        click,
        scene,
        [scores, facts],
        trigger_mode="multiple",
        concurrency_limit=1,  # one after the other, so that the last click is shown last
        api_visibility="private",
        show_progress="hidden",
    )
