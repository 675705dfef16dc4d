"""``perfsuite plan``: what would run, without running it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfsuite.plan import Criterion, Phase, Plan


def configure(parser: ArgumentParser) -> None:
    """Those of ``run``, and ``--json`` without a value."""
    from perfsuite.cli.options import add_settings

    add_settings(parser, without=["json"])
    parser.add_argument(
        "--predict", metavar="USERS", help="what a measured capacity (run capacity) says of so many users"
    )
    parser.add_argument(
        "--result", metavar="FILE", help="the result that --predict goes by [the newest with a capacity]"
    )
    parser.add_argument("--json", dest="as_json", action="store_true", help="print the plan as JSON")


def execute(arguments: Namespace) -> int:
    """Prints the plan; 2 when it could not run."""
    from perfsuite.cli.options import plan_of
    from perfsuite.cli.screen import put

    plan = plan_of(arguments)
    for text in plan.notes:
        print(f"perfsuite: {text}", file=sys.stderr)
    if arguments.predict is not None:
        from perfsuite.cli.capacity_prediction import predicted

        think = plan.load.think
        return predicted(arguments.predict, arguments.result, plan.output, think, as_json=arguments.as_json)
    if arguments.as_json:
        _print_json(plan)
        return 0
    for line in lines(plan):
        put(line)
    return 0


def lines(plan: Plan) -> Iterator[str]:
    """The plan for people."""
    from perfsuite.analysis.feasibility import undecidable
    from perfsuite.settings import BY_NAME
    from perfsuite.units import goal

    total = sum(phase.duration_s for phase in plan.phases)
    yield f"target {plan.target}, profile {plan.profile}, seed {plan.seed}, {goal(total, 's')} of measuring"
    undecided = {(name, criterion): (why, needed) for name, criterion, why, needed in undecidable(plan)}
    for phase in plan.phases:
        yield ""
        yield from _phase(phase)
        for criterion in phase.criteria:
            yield _criterion(criterion)
            if (phase.name, criterion) in undecided:
                why, needed = undecided[phase.name, criterion]
                enough = f"; {goal(needed, 's')} could" if needed is not None else ""
                yield f"      this run cannot decide it: {why}{enough}"
        informative = [name for name in phase.metrics if name not in {c.metric for c in phase.criteria}]
        if informative:
            yield f"    informative: {', '.join(informative)}"
    yield ""
    yield "settings, each with where it comes from"
    width = max(len(setting.name) for setting in plan.settings)
    for setting in plan.settings:
        value = setting_text(setting.value, BY_NAME[setting.name].unit)
        yield f"  {setting.name:<{width}}  {value:<24} {setting.origin}"


def _phase(phase: Phase) -> Iterator[str]:
    from perfsuite.suites.probes import covering
    from perfsuite.units import goal

    length = goal(phase.duration_s, "s")
    if phase.duration_s != phase.documented_s:
        length += f" (documented: {goal(phase.documented_s, 's')})"
    origin = "" if phase.origin == "built-in" else f"   from {phase.origin}"
    yield f"{phase.name}: {phase.title}, {length}{origin}"
    probes = phase.probes or tuple(probe.name for probe in covering(phase.metrics))
    yield f"    probes: {', '.join(probes)}"
    if phase.settings:
        yield f"    settings: {', '.join(f'{name} = {setting_text(value)}' for name, value in phase.settings.items())}"


def _criterion(criterion: Criterion) -> str:
    from perfsuite.metric import metric
    from perfsuite.units import goal

    unit = metric(criterion.metric).unit
    marks = [] if criterion.critical else ["not critical"]
    marks += ["required"] if criterion.required else []
    target = f"{criterion.comparison} {goal(criterion.target, unit)}"
    return f"    {criterion!s:<28} {target:<14} {criterion.origin}{f' ({chr(44).join(marks)})' if marks else ''}"


def setting_text(value: object, unit: str = "") -> str:
    """A setting's value on one line."""
    if unit == "s" and isinstance(value, float):
        from perfsuite.units import goal

        return goal(value, "s")
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _print_json(plan: Plan) -> None:
    import msgspec

    from perfsuite.analysis.feasibility import undecidable

    built = msgspec.to_builtins(plan, enc_hook=str)
    built["undecidable"] = [
        {"phase": name, "metric": criterion.metric, "stat": criterion.stat, "why": why, "needed_s": needed}
        for name, criterion, why, needed in undecidable(plan)
    ]
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(built), indent=2).decode() + "\n")
