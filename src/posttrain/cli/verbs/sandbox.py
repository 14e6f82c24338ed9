"""The verb that runs programs for other machines."""

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Give the command line its verb `sandbox`."""
    group = typer.Typer(help="Run model-written programs for other machines.", no_args_is_help=True)
    group.command()(serve)
    group.callback()(_sandbox)
    app.add_typer(group, name="sandbox")


def _sandbox() -> None:
    pass


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; one that others reach needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.", min=0, max=65535)] = 8723,
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds the token which clients must bear, 16 characters or more.")
    ] = None,
    servers: Annotated[int, typer.Option(help="Fork servers, one for each core or two.", min=1, max=64)] = 1,
) -> None:
    """Serve the sandbox of this machine over HTTP, for `resources.sandbox = "http://HOST:PORT"`.

    Clients give the token in the environment variable POSTTRAIN_SANDBOX_TOKEN. Plain HTTP: between machines that trust
    their network, or behind a proxy that adds TLS.
    """
    import signal
    import threading

    from posttrain.graders.sandbox.service import Service

    done = threading.Event()

    def end(number: int, frame: object) -> None:
        done.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    service = Service(host, port, token=_token(token_file), servers=servers)
    answering = threading.Thread(target=service.serve_forever, name="sandbox service", daemon=True)
    answering.start()
    name = f"[{service.server_address[0]}]" if ":" in str(service.server_address[0]) else service.server_address[0]
    typer.echo(f"sandbox {service.level} at http://{name}:{service.server_address[1]}, {servers} fork server(s)")
    done.wait()
    service.shutdown()
    service.server_close()


def _token(file: Path | None) -> str:
    from posttrain.graders.sandbox.service import UNFIT, fits
    from posttrain.spec.errors import UsageError

    if file is None:
        return ""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token cannot be read ({error})", where=str(file)) from error
    if not text:
        raise UsageError("the file of the token is empty", where=str(file))
    if not fits(text):
        raise UsageError(UNFIT, where=str(file))
    return text
