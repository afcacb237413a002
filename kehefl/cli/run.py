"""`kehefl run`: server, virtual or real devices, one run, a summary."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from kehefl.cli.common import broker_options, sentences, split_names, state_option
from kehefl.cli.progress import Progress
from kehefl.cli.signals import FAILED, INTERRUPTED, run_until_signal
from kehefl.errors import RefusedError, UsageError, nearest
from kehefl.experiments.testbed import TestbedSettings, check_data, testbed
from kehefl.federation.settings import SCENARIOS, RunSettings, parse_settings
from kehefl.federation.strategies import load_strategy
from kehefl.models.load import load_model
from kehefl.server.result import Result


@click.command("run")
@click.argument("scenario", required=False)
@broker_options
@state_option
@click.option("--virtual", metavar="N", type=click.IntRange(0, 5000), default=0, help="start N virtual devices")
@click.option(
    "--devices", metavar="N", type=click.IntRange(1), help="wait for N devices [default: all virtual ones, else 1]"
)
@click.option("--dataset", metavar="NAME", help="data set of the virtual devices [default: homes]")
@click.option("--data", metavar="DIR", help="folder with one folder of CSV files per virtual device")
@click.option("--features", metavar="A,B", help="columns to learn from")
@click.option("--target", metavar="T", help="column to learn")
@click.option("--rows", metavar="N", type=click.IntRange(1), help="training rows per virtual device at most")
@click.option("--model", metavar="KIND", help="linear, or my_module:MyModel")
@click.option(
    "--trainer", type=click.Choice(["thread", "process"]), default="thread", help="where virtual devices train"
)
@click.option("--rounds", metavar="N")
@click.option("--local-epochs", metavar="N")
@click.option("--batch-size", metavar="N")
@click.option("--learning-rate", metavar="X")
@click.option("--strategy", metavar="NAME")
@click.option("--quorum", metavar="X", help="share (0.8) or count (8) of devices a round needs")
@click.option("--deadline", metavar="S", help="seconds until a round closes, for example 30s")
@click.option("--attempts", metavar="N", help="tries of a round before the run fails")
@click.option("--pace", metavar="S", help="least seconds from one round to the next")
@click.option("--late", metavar="POLICY", help="drop or next-round")
@click.option("--wait", metavar="S", help="seconds to wait for devices")
@click.option("--seed", metavar="N")
@click.option("--resume", metavar="RUN", help="go on with an interrupted run")
@click.option("--json", "as_json", is_flag=True, help="print exactly one JSON object")
def command(scenario: str | None, **options: Any) -> None:
    """Run SCENARIO (federated) once and print what came of it.

    For example: kehefl run federated --virtual 8 --dataset homes --rounds 20 --seed 1
    """
    with sentences():
        resume = options["resume"]
        if scenario is None and resume is None:
            raise UsageError(f"Name a scenario: {', '.join(SCENARIOS)}. For example: kehefl run federated --virtual 4")
        if scenario is not None and scenario not in SCENARIOS:
            raise UsageError(f"There is no scenario '{scenario}'. {nearest(scenario, SCENARIOS)}")
        settings = _settings(options)
        around = _around(options)
        check_data(around)
        line = f"run resume {resume}" if resume else _start_line(scenario or "", settings)
        try:
            result = run_until_signal(lambda: _run(line, around))
        except KeyboardInterrupt:
            click.echo(
                "kehefl: interrupted; the state is kept. Go on with: kehefl run --resume RUN (kehefl runs)", err=True
            )
            raise SystemExit(INTERRUPTED) from None
        _tell(result, as_json=options["as_json"])
        if result.status != "done":
            click.echo(f"kehefl: {result.reason or 'the run ended as ' + result.status}", err=True)
            raise SystemExit(FAILED)


def _settings(options: dict[str, Any]) -> RunSettings:
    names = {field.name for field in msgspec.structs.fields(RunSettings)}
    given = {name: str(value) for name, value in options.items() if name in names and value is not None}
    if options["virtual"] and "devices" not in given:
        given["devices"] = str(options["virtual"])
    settings = parse_settings(given)
    load_strategy(settings.strategy)
    load_model(settings.model)
    return settings


def _around(options: dict[str, Any]) -> TestbedSettings:
    model = options["model"]
    return TestbedSettings(
        broker=options["broker"],
        federation=options["federation"],
        prefix=options["prefix"],
        state=options["state"],
        virtual=options["virtual"],
        dataset=options["dataset"],
        data=options["data"],
        features=split_names(options["features"]),
        target=options["target"],
        rows=options["rows"],
        models=(model,) if model and model != "linear" else (),
        trainer=options["trainer"],
    )


def _start_line(scenario: str, settings: RunSettings) -> str:
    values = msgspec.to_builtins(settings)
    return " ".join([f"run start {scenario}", *(f"{key}={value}" for key, value in values.items())])


async def _run(line: str, around: TestbedSettings) -> Result:
    async with testbed(around) as server:
        with Progress(sys.stderr) as progress:
            leave = server.subscribe(progress.take)
            result = await server.execute(line)
            leave()
    if isinstance(result, str):
        raise RefusedError(result)
    return result


def _tell(result: Result, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()
        return
    click.echo(f"{result.run_id}  {result.scenario}  {result.status}  {result.rounds_completed} rounds")
    for name, value in result.metrics.items():
        if not isinstance(value, dict):
            click.echo(f"  {name:<22} {value:.6g}")
    traffic, resources = result.traffic, result.resources
    click.echo(f"  {'uplink':<22} {traffic['uplink_bytes']:,} B (counted)")
    click.echo(f"  {'downlink':<22} {traffic['downlink_bytes']:,} B (counted)")
    click.echo(f"  {'CPU devices':<22} {resources['devices']['cpu_s']:.2f} s (measured)")
    click.echo(f"  {'CPU server':<22} {resources['server']['cpu_s']:.2f} s (measured)")
    click.echo(
        f"  {'wall time':<22} {result.timing['wall_s']:.2f} s, {result.timing['round_ms_median']:.1f} ms a round"
    )
    click.echo(f"  {'model':<22} {result.model['path']}")
