"""Previews that find nothing to do."""

from __future__ import annotations

from functools import partial

from bench.figures import Figure, Say, medians
from bench.hundred import Hundred
from bench.room import room
from bench.site import Site


def hundred(say: Say, runs: int = 5) -> tuple[Figure, ...]:
    """Measure the preview of a hundred machines that are nowhere, against the engine with as many resources alone."""
    with room(say) as directory:
        say("making the state of a hundred machines that are nowhere")
        stacks = Hundred(directory)
        say(f"previewing {stacks.resources} resources, {runs} times in turn")
        taken = medians(runs, {"ours": stacks.preview, "alone": stacks.preview_alone})
    figure = Figure(
        name=f"preview of 100 machines ({stacks.resources} resources) where nothing creates anything",
        ours=taken["ours"],
        against="Pulumi's engine alone, as many resources",
        by_hand=taken["alone"],
        goal_beyond=3.0,
    )
    return (figure,)


def stage(say: Say, runs: int = 3) -> tuple[Figure, ...]:
    """Measure the preview of the sample's whole stage."""
    with room(say) as directory:
        site = Site(directory)
        say("building the stage")
        site.pulumi("up", site.stage)
        preview = partial(site.pulumi, "preview", site.stage, "--expect-no-changes")
        taken = medians(runs, {"ours": preview})
    return (Figure(name="preview of the sample stage, nothing to do", ours=taken["ours"]),)
