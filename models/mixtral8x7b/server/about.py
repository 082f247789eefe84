"""What is served, and whether it is well."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from models.mixtral8x7b.server.errors import UNAVAILABLE, unavailable
from models.mixtral8x7b.server.service import Service


def about_routes(service: Service) -> APIRouter:
    router, experts = APIRouter(), service.engine.experts
    model = {
        "id": service.model_name,
        "object": "model",
        "created": service.created,
        "owned_by": "mixtral8x7b-ttnn",
        "max_model_len": service.max_context,
        "experts": experts._asdict() if experts else None,
    }

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model]}

    @router.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        service.check_model(name)
        return model

    @router.get("/health", responses=UNAVAILABLE)
    async def health() -> Response:
        trouble = service.trouble
        return JSONResponse({"status": "ok"}) if trouble is None else unavailable(trouble).response()

    @router.get("/version")
    async def version() -> dict[str, str]:
        return {"version": service.version}

    return router
