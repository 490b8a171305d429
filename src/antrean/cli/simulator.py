"""`antrean simulator`: a Peruri of one's own."""

from __future__ import annotations

import click

from antrean.cli._process import announcer, ready_fd_option, start_process


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: the gateway's + 1]"
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of everything drawn by lot.")
@click.option(
    "--quota", type=click.IntRange(0), default=1_000_000, show_default=True, help="Stamps on the account."
)
@ready_fd_option
def command(host: str, port: int | None, seed: int, quota: int, ready_fd: int | None) -> None:
    """Run a simulated upstream, with faults to switch on. Nothing real is bought."""
    settings = start_process()
    from antrean.simulator.addresses import SIMULATOR_PASSWORD, SIMULATOR_USER
    from antrean.simulator.app import SimulatorConfig, run

    config = SimulatorConfig(
        user=settings.upstream_user or SIMULATOR_USER,
        password=settings.upstream_password.get_secret_value() or SIMULATOR_PASSWORD,
        quota=quota,
        seed=seed,
        adapter_root=settings.effective_shared_dir,
        books_path=settings.data_dir / "simulator.jsonl",
    )
    port = port or settings.effective_simulator_port
    try:
        run(config, host, port, announcer(ready_fd))
    except BlockingIOError as error:
        raise click.ClickException(
            f"Another simulator, or `antrean up`, keeps its books in {settings.data_dir}: "
            "set ANTREAN_DATA_DIR to another folder."
        ) from error
    except OSError as error:
        where = error.filename or f"{host}:{port} (another by --port)"
        raise click.ClickException(f"{where}: {error.strerror or error}") from error
