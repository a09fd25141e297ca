"""The page itself: its parts, and which of them answer to what. Gradio is needed from here on."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import gradio as gr

from reben.app.demo import markup
from reben.app.demo.answers import GROUPS, Answer
from reben.app.demo.handlers import Desk, PatchView
from reben.app.demo.patches import ShownPatch
from reben.app.demo.scenes import SceneScores

_OLD_SECONDS = 3600
_STATE_SECONDS = 3600
_OFF = (
    "Off: the band's training mean in every pixel, which is 0 after normalisation. The model was "
    "never trained on that, so this shows what it looks at, not how it would do without."
)
_NO_SAMPLES = (
    "There is no sample to choose from. Fetch 24 real patches with: reben sample "
    "~/.cache/reben/sample, or start the page with --data STORE."
)
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}


def build(desk: Desk) -> gr.Blocks:
    """Return the page for a model."""
    page: gr.Blocks = gr.Blocks(
        title="reben demo", analytics_enabled=False, delete_cache=(600, _OLD_SECONDS)
    )
    with page:
        _html(_head(desk))
        with gr.Tabs():
            with gr.Tab("Patch", id="patch"):
                _patch_tab(page, desk)
            with gr.Tab("Scene", id="scene"):
                _scene_tab(page, desk)
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
        "css": files("reben.app.demo").joinpath("style.css").read_text(encoding="utf-8"),
        "head": '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "footer_links": [],
    }


def _html(value: str = "", **options: Any) -> gr.HTML:  # noqa: ANN401 - Gradio's own
    return gr.HTML(value, apply_default_css=False, **options)


def _head(desk: Desk) -> str:
    config = desk.model.config
    limits = sorted(set(config.thresholds))
    limit = f"{limits[0]:g}" if len(limits) == 1 else "one for each label"
    return (
        '<header class="head"><h1>What is on this patch?</h1>'
        f"<p>Model <b>{escape(desk.model_name)}</b> · {len(config.bands)} bands: "
        f"{escape(', '.join(config.bands))} · {len(config.labels)} labels · threshold {limit}"
        "</p></header>"
    )


def _patch_tab(page: gr.Blocks, desk: Desk) -> None:
    patch = gr.State(None, time_to_live=_STATE_SECONDS)
    answer = gr.State(None, time_to_live=_STATE_SECONDS)
    with gr.Row(elem_classes="patch-grid"):
        with gr.Column(elem_classes="area-patch", min_width=300):
            choice = _choice(desk)
            with gr.Accordion("Upload your own patch", open=desk.samples is None):
                upload = gr.File(
                    label="Band TIFFs named <patch>_<BAND>.tif, or a zip of a patch folder",
                    file_count="multiple",
                    height=120,
                    elem_id="patch-upload",
                )
            views = _html()
        with gr.Column(elem_classes="area-scores", min_width=300):
            message = _html(
                "" if desk.samples else markup.alert(_NO_SAMPLES, "hint"), elem_id="message"
            )
            scores = _html(elem_id="scores")
            with gr.Row():
                downloads = [
                    gr.DownloadButton(
                        f"Save as {name}",
                        interactive=False,
                        size="sm",
                        min_width=80,
                        elem_id=f"save-{name}",
                    )
                    for name in ("JSON", "CSV", "PNG")
                ]
        with gr.Column(elem_classes="area-groups", min_width=300):
            kept = gr.CheckboxGroup(
                choices=[(_group_name(desk, group), group) for group in desk.groups],
                value=list(desk.groups),
                label="Which bands does it look at? Switch some off",
                info=_OFF,
                elem_id="groups",
            )
            moves = _html(elem_id="moves")
        with gr.Column(elem_classes="area-facts", min_width=300):
            facts = _html()
    with gr.Accordion("What the model expects, and what it got", open=False) as expected:
        bands = _html(elem_id="bands")

    parts = [patch, answer, message, views, facts, scores, moves, bands, expected, kept]
    inputs: list[gr.components.Component] = [choice, upload]

    def shown(view: PatchView) -> tuple[Any, ...]:
        return (*view[:8], gr.Accordion(open=not view.are_bands_right), list(desk.groups))

    def chosen(name: str | None) -> tuple[Any, ...]:
        return (*shown(desk.choose(name)), gr.skip(), None)

    def uploaded(paths: list[str] | None) -> tuple[Any, ...]:
        return (*shown(desk.upload(paths)), None, gr.skip())

    def results(patch: ShownPatch | None, answer: Answer | None) -> list[Any]:
        paths: Sequence[str | None] = desk.results(patch, answer) or (None, None, None)
        return [gr.DownloadButton(value=path, interactive=path is not None) for path in paths]

    def switch(patch: ShownPatch | None, kept: list[str], bands: str) -> tuple[Any, ...]:
        return (*desk.switch(patch, kept, bands)[:8], gr.skip(), gr.skip())

    started = [
        choice.input(chosen, choice, [*parts, *inputs], **_PRIVATE),
        upload.upload(uploaded, upload, [*parts, *inputs], **_PRIVATE),
        kept.input(switch, [patch, kept, bands], parts, trigger_mode="always_last", **_PRIVATE),
        page.load(lambda name: shown(desk.choose(name)), choice, parts, **_PRIVATE),
    ]
    for event in started:
        event.then(results, [patch, answer], downloads, api_visibility="private")


def _choice(desk: Desk) -> gr.Dropdown:
    samples = desk.samples
    return gr.Dropdown(
        choices=samples.choices if samples else [],
        value=samples.first if samples else None,
        label="Real patch, with its true labels",
        visible=samples is not None,
        elem_id="sample",
    )


def _group_name(desk: Desk, group: str) -> str:
    return f"{group}: {' '.join(band for band in desk.model.bands if band in GROUPS[group])}"


def _scene_tab(page: gr.Blocks, desk: Desk) -> None:
    scene = gr.State(None, time_to_live=_STATE_SECONDS)
    first = desk.show_scene(desk.scene)
    with gr.Row(elem_classes="scene-grid"):
        with gr.Column(elem_classes="area-map", min_width=300):
            message = _html(elem_id="scene-message")
            class_map = _html(first.class_map, js_on_load=markup.ON_LOAD, elem_id="class-map")
        with gr.Column(elem_classes="area-scores", min_width=300):
            scores = _html(first.scores, elem_id="cell-scores")
        with gr.Column(elem_classes="area-legend", min_width=300):
            legend = _html(first.legend, elem_id="legend")
            with gr.Accordion("Open the result of reben predict-scene", open=desk.scene is None):
                upload = gr.File(
                    label="scores.tif, and map.png if there is one",
                    file_count="multiple",
                    height=120,
                    elem_id="scene-upload",
                )
        with gr.Column(elem_classes="area-facts", min_width=300):
            facts = _html(first.facts, elem_id="cell-facts")
    quicklook = _html(first.quicklook)
    parts = [scene, message, class_map, legend, quicklook, scores, facts]

    def click(scene: SceneScores | None, event: gr.EventData) -> tuple[str, str]:
        return desk.cell(scene or desk.scene, event.column, event.row)

    upload.upload(lambda paths: tuple(desk.upload_scene(paths)), upload, parts, **_PRIVATE)
    class_map.select(
        click,
        scene,
        [scores, facts],
        trigger_mode="multiple",
        concurrency_limit=1,  # one after the other, so that the last click is shown last
        api_visibility="private",
        show_progress="hidden",
    )
