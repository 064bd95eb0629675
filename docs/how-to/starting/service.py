"""A web service that starts runs: one client for the process, made and closed with it. `uvicorn service:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

from farandole import Client, RunNotFound, RunRefused


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Client(namespace="shop") as client:  # on Kafka: Client("kafka:9092", "shop")
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/greetings/{order}", status_code=202)
async def start(order: str, name: str, request: Request) -> dict[str, str]:
    client: Client = request.app.state.client
    try:
        run = await client.start("greetings", params={"name": name}, run_id=f"greet-{order}")
    except RunRefused as bad:
        raise HTTPException(422, str(bad)) from None
    return {"run": run.id}


@app.get("/greetings/{order}")
async def status(order: str, request: Request) -> dict[str, str]:
    client: Client = request.app.state.client
    run = await client.run(f"greet-{order}")
    try:
        found = await run.status()
    except RunNotFound:
        raise HTTPException(404) from None
    return {"status": found.status, "why": found.waiting}
