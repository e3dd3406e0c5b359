"""The world over HTTP: routes, tokens and envelopes as the API documents them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from msgspec import Meta
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._http import documents, openapi, paging, web
from reach_analytics.sandbox._http.access import Access
from reach_analytics.sandbox._http.control import Control
from reach_analytics.sandbox._http.fault_middleware import FaultMiddleware
from reach_analytics.sandbox._http.hosts import Hosts
from reach_analytics.sandbox._http.web import Body, ok, route
from reach_analytics.sandbox._simulation import Simulation
from reach_analytics.sandbox._world.state import Batch, Write

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Some = Meta(max_length=assumptions.MAX_RECORDS)


class _Resources(Body, frozen=True):
    resources: Annotated[list[dict[str, Any]], Some]


class _Delete(Body, frozen=True):
    external_ids: Annotated[tuple[str, ...], Some] = ()
    cascade: bool = False
    delete_all: bool = False
    dry_run: bool = False


class _Tenant(Body, frozen=True):
    name: Text
    external_id: Text
    website: str | None = None


class _Schema(Body, frozen=True):
    name: Text
    schema: dict[str, Any]
    category: str = "custom_schema"
    plural_name: str | None = None
    description: str | None = None
    external_id_field: Text = "externalId"


def app(simulation: Simulation, access: Access, hosts: Hosts) -> ASGIApp:
    """The ASGI application: the routes, behind the fault middleware."""
    handlers = {
        HTTPException: web.on_refusal,
        ClientDisconnect: web.on_hang_up,
        Exception: web.on_error,
    }
    inner = Starlette(routes=all_routes(simulation, access), exception_handlers=handlers)
    inner.router.redirect_slashes = False
    return FaultMiddleware(inner, simulation, hosts)


def all_routes(simulation: Simulation, access: Access) -> list[Route]:
    """The routes of the API, and the sandbox's own."""
    api = Api(simulation, access)
    return [
        route("/api/batches/{batch_id}", GET=api.get_batch),
        route("/api/batches", GET=api.list_batches),
        route(
            "/api/resources/{schema}/batch",
            POST=api.post_batch,
            PATCH=api.patch_batch,
            DELETE=api.delete_batch,
        ),
        route("/partner/tenants", GET=api.list_tenants, POST=api.post_tenant),
        route("/partner/schema-definitions", GET=api.list_schemas, POST=api.post_schema),
        route("/openapi.json", GET=_document),
        *Control(simulation).routes(),
    ]


async def _document(_: Request) -> Response:
    return Response(openapi.as_json(), media_type="application/json")


class Api:
    """The documented routes. Each holds the simulation's lock while it accesses the world."""

    def __init__(self, simulation: Simulation, access: Access) -> None:
        self.simulation = simulation
        self.access = access

    async def get_batch(self, request: Request) -> Response:
        with self.simulation.lock:
            world = self.simulation.world
            tenant = self.access.tenant(request, world)
            details = web.flag(request, "includePendingDetails")
            batch = world.batches.get(request.path_params["batch_id"])
            if batch is None or batch.tenant_id != tenant.id:
                raise HTTPException(404, "batch not found")
            return ok(documents.batch(world, batch, pending_details=details))

    async def list_batches(self, request: Request) -> Response:
        with self.simulation.lock:
            world = self.simulation.world
            tenant = self.access.tenant(request, world)
            batches = world.batches_of.get(tenant.id, [])
            if "batchType" in request.query_params:
                wanted = web.choice(request, "batchType", assumptions.BATCH_TYPES)
                batches = [batch for batch in batches if batch.write.kind == wanted]
            rows, pagination = paging.page(request, range(len(batches) - 1, -1, -1))
            results = [documents.batch(world, batches[i], pending_details=False) for i in rows]
            return ok({"results": results, "pagination": pagination})

    async def post_batch(self, request: Request) -> Response:
        return await self._write_records(request, assumptions.INGEST)

    async def patch_batch(self, request: Request) -> Response:
        return await self._write_records(request, assumptions.PATCH)

    async def _write_records(self, request: Request, kind: str) -> Response:
        self._write(request, kind)  # refuses before the body is read
        body = await web.read_body(request, _Resources)
        with self.simulation.lock:
            # Again, since the world may have been replaced while the body was read.
            write = replace(self._write(request, kind), items=body.resources)
            return _accepted(self.simulation.world.submit(write))

    async def delete_batch(self, request: Request) -> Response:
        self._write(request, assumptions.DELETE)
        body = await web.read_body(request, _Delete)
        if body.delete_all == bool(body.external_ids):
            raise HTTPException(422, "give either externalIds or deleteAll")
        with self.simulation.lock:
            world = self.simulation.world
            write = self._write(request, assumptions.DELETE)
            write = replace(write, items=body.external_ids, cascade=body.cascade)
            if not body.dry_run:
                return _accepted((world.delete_all if body.delete_all else world.submit)(write))
            named = world.naming_all(write) if body.delete_all else write
            count, schema = world.would_delete(named), world.find_schema(write.schema)
        data = {"batchId": None, "message": "Nothing was deleted", "recordCount": count}
        return ok({**data, "schemaDefinitionId": schema and schema.id}, "dry run")

    def _write(self, request: Request, kind: str) -> Write:
        """The write that a request's address and query ask for, without its items."""
        with self.simulation.lock:
            tenant = self.access.tenant(request, self.simulation.world)
            schema = self.simulation.world.find_schema(request.path_params["schema"])
        if schema is None:
            raise HTTPException(404, "schema definition not found")
        rejects = False
        if kind == assumptions.INGEST:
            rejects = web.choice(request, "onconflict", ("upsert", "reject")) == "reject"
        wait_s, ignore = 0, False
        if kind != assumptions.DELETE:
            wait_s = web.whole(request, "dependencyWaitTimeout", 0, 0, assumptions.MAX_WAIT_S)
            ignore = web.flag(request, "ignoreUnknownFields")
        return Write(tenant.id, schema.id, (), kind, wait_s, rejects, ignore)

    async def list_tenants(self, request: Request) -> Response:
        self.access.partner(request)
        with self.simulation.lock:
            tenants = list(self.simulation.world.tenants.values())
            rows, pagination = paging.page(request, range(len(tenants)))
            results = [documents.tenant(tenants[i]) for i in rows]
        return ok({"results": results, "pagination": pagination})

    async def post_tenant(self, request: Request) -> Response:
        self.access.partner(request)
        body = await web.read_body(request, _Tenant)
        with self.simulation.lock:
            world = self.simulation.world
            if world.tenant_of(body.external_id):
                raise HTTPException(409, "there is a tenant with this externalId already")
            tenant = world.add_tenant(body.name, body.external_id, website=body.website)
            return ok(documents.tenant(tenant), "created", status=201)

    async def list_schemas(self, request: Request) -> Response:
        self.access.partner(request)
        with self.simulation.lock:
            world = self.simulation.world
            return ok([documents.schema(world, s) for s in world.schemas.values()])

    async def post_schema(self, request: Request) -> Response:
        self.access.partner(request)
        body = await web.read_body(request, _Schema)
        if body.category not in assumptions.CATEGORIES:
            raise HTTPException(400, f"category must be {' or '.join(assumptions.CATEGORIES)}")
        with self.simulation.lock:
            world = self.simulation.world
            if world.find_schema(body.name):
                raise HTTPException(409, "there is a schema definition of this name already")
            try:
                made = world.define(
                    body.name,
                    body.category,
                    body.schema,
                    external_id_field=body.external_id_field,
                    plural_name=body.plural_name,
                    description=body.description,
                )
            except ValueError as error:
                raise HTTPException(422, str(error)) from None
            return ok(documents.schema(world, made), "created", status=201)


def _accepted(batch: Batch) -> Response:
    data = {
        "batchId": batch.id,
        "message": "Batch accepted",
        "recordCount": batch.total,
        "schemaDefinitionId": batch.schema_id,
    }
    return ok(data, "accepted", status=202)
