"""An application with a dependency, a variable, and an answer that says whether it is well."""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


async def hello(request: Request) -> Response:
    """Greet."""
    name = request.query_params.get("name", "world")
    print("greeting", name, flush=True)
    return JSONResponse({"greeting": os.environ["GREETING"], "name": name})


async def health(_: Request) -> Response:
    """Say that it is well."""
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/", hello), Route("/health", health)])
