"""The whole service as one ASGI application."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from models.mixtral8x7b.server.about import about_routes
from models.mixtral8x7b.server.access import Access
from models.mixtral8x7b.server.chat import chat_routes
from models.mixtral8x7b.server.chat_page import page_routes
from models.mixtral8x7b.server.completions import completion_routes
from models.mixtral8x7b.server.errors import REFUSED, handle_errors
from models.mixtral8x7b.server.gate import Gate
from models.mixtral8x7b.server.limits import Limits
from models.mixtral8x7b.server.metrics import metric_routes
from models.mixtral8x7b.server.request_id import RequestId
from models.mixtral8x7b.server.responses import response_routes
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.tokens import token_routes
from models.mixtral8x7b.server.torchserve import USUAL, TorchServeOptions, torchserve_routes


def create_app(service: Service, torchserve: TorchServeOptions = USUAL) -> FastAPI:
    title, version = "Mixtral 8x7B in ttnn", service.version
    app = FastAPI(title=title, version=version, docs_url=None, redoc_url=None, responses=REFUSED)
    handle_errors(app)
    for routes in (completion_routes, chat_routes, response_routes, about_routes, token_routes):
        app.include_router(routes(service))
    app.include_router(metric_routes(service.metrics))
    app.include_router(torchserve_routes(service, torchserve))
    app.include_router(page_routes())
    app.add_middleware(Gate, service=service)  # the last that is added sees a request first
    app.add_middleware(Limits, service=service)
    app.add_middleware(Access, service=service)
    if service.allowed_origins:
        origins = list(service.allowed_origins)
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(RequestId)
    return app
