"""Previews that find nothing to do."""

from __future__ import annotations

from functools import partial

from bench.bare import seconds_to_ssh
from bench.figures import ONE, Figure, Say, medians, timed_up
from bench.hundred import Hundred
from bench.room import room
from bench.site import Site
from images import build


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
    """Measure the whole sample stage, once to the last check, and its preview when nothing is to do."""
    with room(say) as directory:
        site = Site(directory)
        say("making the templates")
        site.run("understudy", "place", "-s", site.stage)
        site.pulumi("up", site.stage)
        site.pulumi("destroy", site.stage)
        say("building the stage")
        bare = seconds_to_ssh(build.ensure(say), (ONE,), directory)
        answered, whole = timed_up(site)
        restore = float(site.outputs(site.stage)["seeds"]["shop"]["restore_seconds"])
        preview = partial(site.pulumi, "preview", site.stage, "--expect-no-changes")
        taken = medians(runs, {"ours": preview})
    return (
        Figure(name="the whole sample stage, services and checks: `up`, with image and templates there", ours=whole),
        Figure(
            name="– of it until all five machines had run their first command; services begin on some before",
            ours=answered,
            against="one by bare qemu",
            by_hand=bare,
        ),
        Figure(name="– of it the restore, with its checks", ours=restore),
        Figure(name="preview of the sample stage, nothing to do", ours=taken["ours"]),
    )
