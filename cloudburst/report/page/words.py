"""The page's own texts, in the user's language."""

from __future__ import annotations

from cloudburst.language import tr


def words() -> dict[str, str]:
    """Return the page's own texts by the names that the template has for them."""
    return {
        "skip": tr("Skip to the scenes"),
        "contents": tr("Contents"),
        "figures": tr("Figures"),
        "failures": tr("Why scenes failed"),
        "timeline": tr("Timeline"),
        "cost": tr("Cost"),
        "plan": tr("Plan and outcome"),
        "scenes": tr("Scenes"),
        "workers": tr("Workers"),
        "warnings": tr("Warnings"),
        "files": tr("Files"),
        "zoom": tr("Zoom"),
        "zoom_in": tr("Zoom in"),
        "zoom_out": tr("Zoom out"),
        "fit": tr("Fit"),
        "zoom_hint": tr("Ctrl and the mouse wheel zoom, too; point at a block to read it."),
        "filter": tr("Find a scene"),
        "all": tr("every status"),
        "status": tr("status"),
        "scene": tr("scene"),
        "picture": tr("picture"),
        "notes": tr("notes"),
        "attempts": tr("attempts"),
        "play": tr("Play {scene}"),
        "close": tr("Close"),
        "no_video": tr("no video"),
        "shown": tr("{shown} of {all} scenes shown"),
        "sorted": tr("Sorted by {column}"),
        "missing": tr(
            "The video cannot be played from here: {file} is not beside this page, or this browser "
            "does not know its format."
        ),
        "done": tr("done"),
        "do": tr("What to do:"),
        "table": tr("Table: {title}"),
        "report_json": tr("everything, for programs"),
        "trace_json": tr("the timeline, for ui.perfetto.dev and chrome://tracing"),
        "scenes_csv": tr("a line for each scene"),
        "launches_csv": tr("a line for each launch"),
    }
