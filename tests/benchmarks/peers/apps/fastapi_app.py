"""FastAPI behind Mangum with SQLAlchemy's ORM, as their guides write it."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query
from mangum import Mangum
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import create_engine, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from tests.benchmarks.peers.apps import statements


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
    email: str = Field(max_length=254, pattern=statements.EMAIL)


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
    next: str | None


# Looking hstore up takes a savepoint, which DSQL refuses.
engine = create_engine("postgresql+psycopg://", pool_size=1, use_native_hstore=False)
make_session = sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


def session() -> Iterator[Session]:
    with make_session() as opened:
        yield opened


Opened = Annotated[Session, Depends(session)]


@app.get("/health/live")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/users")
def users(
    opened: Opened,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: str | None = None,
) -> Page:
    newest = select(User).order_by(User.created_at.desc(), User.id.desc())
    if cursor:
        place = statements.decode_cursor(cursor)
        newest = newest.where(tuple_(User.created_at, User.id) < place)
    rows = opened.scalars(newest.limit(limit + 1)).all()
    shown, following = rows[:limit], None
    if len(rows) > limit:
        following = statements.build_next([vars(shown[-1])], limit)
    return Page(
        users=[Shown.model_validate(row) for row in shown],
        count=len(shown),
        next=following,
    )


@app.post("/users", status_code=201)
def create(body: NewUser, opened: Opened) -> Shown:
    now = datetime.now(UTC)
    user = User(**body.model_dump(), created_at=now, updated_at=now)
    opened.add(user)
    try:
        opened.commit()
    except IntegrityError as error:
        raise HTTPException(409) from error
    return Shown.model_validate(user)


@app.get("/users/{user_id}")
def one(user_id: uuid.UUID, opened: Opened) -> Shown:
    return Shown.model_validate(get_user(opened, user_id))


@app.patch("/users/{user_id}")
def change(user_id: uuid.UUID, body: Patch, opened: Opened) -> Shown:
    user = get_user(opened, user_id)
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(user, name, value)
    user.updated_at = datetime.now(UTC)
    opened.commit()
    return Shown.model_validate(user)


def get_user(opened: Session, user_id: uuid.UUID) -> User:
    user: User | None = opened.get(User, user_id)
    if user is None:
        raise HTTPException(404)
    return user


handler = Mangum(app, lifespan="off")
