"""FastAPI behind Mangum with SQLAlchemy's ORM, as their guides write it."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from mangum import Mangum
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from tests.benchmarks.peers.common import HEADERS, connect_arguments, log


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users_user"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str]
    email: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class NewUser(BaseModel):
    name: str = Field(min_length=1, max_length=100)
    email: str = Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")


class Patch(BaseModel):
    name: str | None = Field(default=None, min_length=1, max_length=100)


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    name: str
    email: str
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    users: list[Shown]
    count: int


# Looking hstore up takes a savepoint, which DSQL refuses.
engine = create_engine("postgresql+psycopg://", pool_size=1, use_native_hstore=False)


@event.listens_for(engine, "do_connect")
def log_in(dialect: Any, record: Any, args: Any, params: dict[str, Any]) -> None:
    params |= connect_arguments()


make_session = sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


@app.middleware("http")
async def headers(request: Request, call_next: Any) -> Response:
    started = time.perf_counter()
    response: Response = await call_next(request)
    response.headers.update(HEADERS)
    request_id = log(request.method, "/users", response.status_code, started)
    response.headers["X-Request-Id"] = request_id
    return response


def session() -> Iterator[Session]:
    with make_session() as opened:
        yield opened


Opened = Annotated[Session, Depends(session)]


@app.get("/users")
def users(opened: Opened) -> Page:
    newest = select(User).order_by(User.created_at.desc(), User.id.desc()).limit(51)
    rows = opened.scalars(newest).all()[:50]
    return Page(users=[Shown.model_validate(row) for row in rows], count=len(rows))


@app.post("/users", status_code=201)
def create(body: NewUser, opened: Opened) -> Shown:
    now = datetime.now(UTC)
    user = User(**body.model_dump(), created_at=now, updated_at=now)
    opened.add(user)
    opened.commit()
    return Shown.model_validate(user)


@app.get("/users/{user_id}")
def one(user_id: uuid.UUID, opened: Opened) -> Shown:
    return Shown.model_validate(found(opened, user_id))


@app.patch("/users/{user_id}")
def change(user_id: uuid.UUID, body: Patch, opened: Opened) -> Shown:
    user = found(opened, user_id)
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(user, name, value)
    user.updated_at = datetime.now(UTC)
    opened.commit()
    return Shown.model_validate(user)


def found(opened: Session, user_id: uuid.UUID) -> User:
    user: User | None = opened.get(User, user_id)
    if user is None:
        raise HTTPException(404)
    return user


handler = Mangum(app, lifespan="off")
