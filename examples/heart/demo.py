"""Four hospitals train one model on a real Fabric network of this machine, and nobody is in the middle.

Run it with ``make demo``. Everything lies in one folder (``build/demo`` by default), each hospital's things in a folder
of its own; at the end every process is stopped, and the folder stays to look at.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import data
import numpy as np
from rich.console import Console
from rich.table import Table

import befl.network
from befl import client
from befl.agent.participant import app_of
from befl.client.tasks import Change, read_spec
from befl.gateway import wait
from befl.rules.errors import BeflError
from befl.rules.seeds import initial_seed, rows_seed, training_seed
from befl.training import Trainer
from befl.training.data import Table as Rows
from befl.training.data import load, problem, split
from befl.training.metrics import auc

HERE = Path(__file__).parent
HOSPITALS = {"cleveland": "Cleveland", "hungary": "Budapest", "switzerland": "Zurich and Basel", "va": "Long Beach"}
AGENT = """\
# Written by the demo. Everything this hospital's agent uses lies in this hospital's folder.
befl = 1
[network]
profile = "../connection.json"
[identity]
msp_dir = "../users/agent/msp"
[data.heart]
path = "heart.csv"
[policy]
apply = "always"        # a hospital would keep "ask"; nobody is there to be asked in a demo
schemes = ["none"]      # the demo hides nothing between the hospitals: the data are public
"""


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="where everything goes")
    folder = parser.parse_args().folder
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(highlight=False, soft_wrap=True)
    try:
        return 0 if show(console, folder) else 1
    except (BeflError, data.DataError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; nothing is left running")
        return 130


def show(console: Console, folder: Path) -> bool:
    """Start the consortium, publish the task, watch it, compare, verify, replay; return whether the replay passed."""
    started = time.monotonic()
    network = folder / "network"
    console.rule("1. Four hospitals and no server", align="left")
    if (network / "network.toml").exists():  # before that, an interrupted run has left nothing that stands in the way
        befl.network.down(network, purge=True)
    console.print("Each hospital runs its own certificate authority, orderer, peer and chaincode server.")
    status = befl.network.up(
        network,
        befl.network.make(tuple(HOSPITALS)),
        lambda line: console.print(f"  {line}", markup=False),
        owner=os.getpid(),
    )
    try:
        counts = {name: data_of(network, name) for name in HOSPITALS}
        console.print(
            f"  {len(status.institutions)} institutions, {sum(len(one.processes) for one in status.institutions)} "
            f"processes, mutual TLS between all of them"
        )
        console.print(f"  rows: {', '.join(f'{HOSPITALS[name]} {rows}' for name, rows in counts.items())}")
        console.print(f"  data: {data.ATTRIBUTION}", style="dim")
        with agents(network), client.connect(network=network, identity="cleveland") as consortium:
            task = train(console, network, consortium)
            compare(console, network, consortium, task)
            use(console, folder, network, task)
            replayed = check(console, folder, network, task)
    finally:
        befl.network.down(network)
    console.print(f"\n{time.monotonic() - started:.0f} seconds. Every process has been stopped.")
    console.print(f"verdict: {replayed.verdict}", style="bold")
    return replayed.passed


def data_of(network: Path, name: str) -> int:
    """Put a hospital's rows and its agent's configuration into its folder; return the number of rows."""
    home = network / name / "agent"
    home.mkdir(mode=0o700, exist_ok=True)
    path = data.write({name: home})[name]
    (home / "AGENT.toml").write_text(AGENT)
    return len(path.read_bytes().splitlines()) - 1


@contextmanager
def agents(network: Path) -> Iterator[None]:
    """Run the four agents as processes of their own; each operator has approved the app's code."""
    running = []
    befl_command = [sys.executable, "-m", "befl.cli.main"]
    try:
        for name in HOSPITALS:
            config = str(network / name / "agent" / "AGENT.toml")
            subprocess.run(
                [*befl_command, "app", "approve", "tabular", "--config", config, "--yes"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            with (network / name / "agent" / "agent.log").open("wb") as log:
                running.append(
                    subprocess.Popen([*befl_command, "agent", "run", "--config", config], stdout=log, stderr=log)
                )
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)


def train(console: Console, network: Path, consortium: client.Client) -> str:
    """Publish the task as an issuer of Cleveland's and watch it to its end."""
    console.print()
    console.rule("2. One task, ten rounds", align="left")
    with client.connect(network=network, identity="cleveland/issuer") as issuer:
        made = issuer.tasks.publish(HERE / "task.toml")
    spec = read_spec(HERE / "task.toml")
    console.print(
        f"  Cleveland published task {made.task}: {spec.app.settings['model']} regression, {made.parameters} "
        f"parameters (block {made.block}). Four agents found it on the ledger, and their policies allow it."
    )
    console.print("  A round: each hospital trains on its own rows; every peer adds up the updates; all evaluate.\n")
    console.print(
        "  round  updates from (seconds after the round opened)      accuracy    AUC   closed by (transaction, block)"
    )
    closed: dict[int, Change] = {}
    with console.status("the agents apply") as spinner:
        for change in consortium.tasks.watch(made.task):
            current = change.view.round
            if change.view.state == "cancelled":
                raise BeflError("BEFL-T-002", f"task {made.task} was cancelled")
            if current is None:
                spinner.update(f"{len(change.view.applicants)} of 4 have applied")
                continue
            spinner.update(f"round {current.number}: {current.state}, {len(current.updates)} updates")
            if change.transaction == "Close":
                closed[change.round] = change
            done = change.round - (change.transaction == "Open")  # the view may be a round further
            if change.transaction in ("Open", "Finish") and done:
                console.print(round_line(consortium, made.task, done, closed.get(done)), markup=False)
    return made.task


def round_line(consortium: client.Client, task: str, number: int, close: Change | None) -> str:
    """Say in one line who delivered in a round, when, how good the model is, and where that stands."""
    found = consortium.ledger.round(task, number)
    record, pooled = found["round"], found["round"]["metrics"]["pooled"]
    who = "  ".join(
        f"{msp_id.removesuffix('MSP').lower()} {(item['submitted_ms'] - record['opened_ms']) / 1000:.2f}"
        for msp_id, item in found["updates"].items()
    )
    where = f"{record['closed_by'].removesuffix('MSP').lower()}"
    if close is not None:
        where += f" ({close.txid[:8]}, {close.block})"
    return f"  {number:>5}  {who:<56} {pooled['accuracy_ppm'] / 1e6:.3f}  {pooled['auc_ppm'] / 1e6:.3f}   {where}"


def compare(console: Console, network: Path, consortium: client.Client, task: str) -> None:
    """Train each hospital alone and all rows in one place, and show the three beside each other."""
    console.print()
    console.rule("3. Was it worth it?", align="left")
    spec = read_spec(HERE / "task.toml")
    parts = {
        name: split(load(network / name / "agent" / "heart.csv", spec.data), spec.data, rows_seed(task))
        for name in HOSPITALS
    }
    pooled = {side: together([parts[name][side] for name in HOSPITALS]) for side in (0, 1)}
    with Trainer(app_of(spec.app.name), spec.app.settings, problem(spec.data)) as trainer, console.status("..."):
        layout, start = trainer.init(initial_seed(spec))

        def learn(rows: Rows) -> Any:
            model = start
            for number in range(1, spec.rounds.count + 1):
                model = trainer.train(layout, model, rows.x, rows.y, training_seed(task, number, "demo"))
            return model

        record = consortium.ledger.model(task)
        scale = 2.0**spec.aggregation.scale_bits
        integers = np.frombuffer(consortium.ledger.model_bytes(task, record["round"], record["model"]), "<i8")
        models = {name: learn(parts[name][0]) for name in HOSPITALS}
        models["federated"] = (integers / scale).astype(np.float32)
        models["centralised"] = learn(pooled[0])

        def score(model: str, rows: Rows) -> tuple[float | None, float]:
            found = trainer.predict(layout, models[model], rows.x)
            return auc(rows.y, found[:, 1]), float((found.argmax(axis=1) == rows.y).mean())

        table = Table(title="AUC (accuracy) on rows that no training has seen", title_justify="left", box=None)
        table.add_column("")
        for heading in ("rows", "trained alone", "federated", "centralised"):
            table.add_column(heading, justify="right")
        for name, town in HOSPITALS.items():
            held = parts[name][1]
            found = (score(name, held), score("federated", held), score("centralised", held))
            table.add_row(town, str(len(held.y)), *(cell(*each) for each in found))
        held = pooled[1]
        alone = [score(name, held) for name in HOSPITALS]
        mean = float(np.mean([each[0] for each in alone])), float(np.mean([each[1] for each in alone]))
        found = (mean, score("federated", held), score("centralised", held))
        table.add_row("all together", str(len(held.y)), *(cell(*each) for each in found), style="bold")
    console.print(table)
    federated, centralised = found[1][0] or 0.0, found[2][0] or 0.0
    console.print(
        f"\n  Centralised would need every patient's row in one place. The difference in AUC is "
        f"{federated - centralised:+.4f}.\n  (all together, trained alone: the mean of the four hospitals' own models)"
    )


def together(tables: list[Rows]) -> Rows:
    """Put the rows of several hospitals into one table, as only the demo can."""
    return Rows(np.concatenate([each.x for each in tables]), np.concatenate([each.y for each in tables]), "")


def cell(area: float | None, accuracy: float) -> str:
    """Show a pair of scores."""
    return f"{'-' if area is None else f'{area:.3f}'} ({accuracy:.3f})"


def use(console: Console, folder: Path, network: Path, task: str) -> None:
    """Take the model home, hold it against the ledger as another hospital, and say where to look next."""
    console.print()
    console.rule("4. The model, and why it can be believed", align="left")
    with client.connect(network=network, identity="va") as long_beach:
        verdict = long_beach.models.verify(long_beach.models.fetch(task, folder / "model"))
    with client.connect(network=network, identity="hungary") as budapest:
        budapest.models.verify(folder / "model")
    console.print(
        f"  Long Beach fetched the model; Budapest found all {len(verdict.files)} files as the ledger has them."
    )
    console.print(f"  manifest {verdict.digest}")
    console.print(f"  registered in transaction {verdict.txid[:16]}, endorsed by a majority of the hospitals' peers")
    console.print("\n  Where to look next", style="bold")
    kept = wait.until(
        lambda: sorted((network / "cleveland" / "agent" / "state" / "models").glob("*/card.md")),
        timeout=30,
        what="Cleveland's agent keeping its copy of the model",
    )
    for what, where in {
        "the model's card": folder / "model" / "card.md",
        "Cleveland's own copy": kept[0].parent,
        "Cleveland's agent": network / "cleveland" / "agent" / "agent.log",
        "one hospital's whole folder": network / "hungary",
    }.items():
        console.print(f"    {what:<28} {where}", markup=False)
    (folder / "task.json").write_text(json.dumps({"task": task}))
    for line in (
        f"befl network up --network {network}",
        f"befl task show {task} --network {network} --as switzerland",
        f"befl predict {folder / 'model'} {network / 'va' / 'agent' / 'heart.csv'}",
    ):
        console.print(f"    {line}", markup=False)


def check(console: Console, folder: Path, network: Path, task: str) -> client.Replay:
    """Replay everything as Budapest: it believes nobody, its own peer neither."""
    console.print()
    console.rule("5. Nobody has to be believed", align="left")
    started = time.monotonic()
    with client.connect(network=network, identity="hungary") as budapest, console.status("..."):
        made = budapest.audit.replay(task, model=folder / "model")
    looked = {each.name: each.looked for each in made.checks}
    again = sum(step.recomputed for step in made.lineage.steps)
    console.print(
        f"  Budapest replayed {made.blocks} blocks in {time.monotonic() - started:.1f} seconds: "
        f"{looked['endorsements']} transactions' signatures and policies checked,\n  {looked['write_set']} contracts "
        f"run again with the same writes to the byte, {again} aggregates and models computed again\n  from the "
        f"hospitals' updates, the same blocks at {looked['peers']} peers."
    )
    for finding in made.findings:
        console.print(f"  {finding.check}, block {finding.block}: {finding.message}", style="red", markup=False)
    console.print(f"  Again, with every check:  befl audit replay {task} --network {network} --as hungary")
    return made


if __name__ == "__main__":
    sys.exit(main())
