"""Uploads: pictures and options from a form, or a bare picture and options from the query string."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Generic, get_origin

from pydantic import ValidationError
from starlette.requests import Request

from sightline.api.declaration import ModelDeclaration
from sightline.api.problems import Code, Problem
from sightline.http.multipart import MULTIPART, FormField, FormLimits, field_too_long, read_form
from sightline.http.problem_responses import invalid_fields
from sightline.http.request_headers import media_type_of, require_uncompressed
from sightline.inference.predictor import OptionsT, Upload

_URL_ENCODED = "application/x-www-form-urlencoded"
# curl sends the last one with --data-binary, whatever the content.
BARE = ("image/", "application/octet-stream", _URL_ENCODED)
MAX_OPTION_BYTES = 1 << 20
SPARE_FIELDS = 64
_MAX_QUOTED_CHARACTERS = 64  # of a field's name in an error

Values = Mapping[str, Sequence[str]]


class UploadReader(Generic[OptionsT]):
    """Reads uploads to one model."""

    def __init__(self, declaration: ModelDeclaration[OptionsT], *, max_pictures: int) -> None:
        self._pictures = {picture.name: picture for picture in declaration.pictures}
        self._first = declaration.pictures[0]
        self._options, self._limits = declaration.options, FormLimits(max_pictures, SPARE_FIELDS, MAX_OPTION_BYTES)
        self._fields = {field.alias or name: field for name, field in declaration.options.model_fields.items()}

    async def read(self, request: Request) -> Upload[OptionsT]:
        """Returns the pictures and validated options of a request.

        A form field without a chosen file or without text counts as absent, because browsers send every field. Raises
        Problem INVALID_REQUEST, UNREADABLE_IMAGE or UNSUPPORTED_FORMAT.
        """
        require_uncompressed(request.headers)
        query = _query_values(request)
        if media_type_of(request.headers) == MULTIPART:
            pictures, fields = await self._read_form(request)
        else:
            pictures, fields = await self._read_bare(request), {}
        self._require_known(query, self._fields, "query parameter")
        self._require_pictures(pictures)
        return Upload(pictures, self._validate({**query, **fields}))

    async def _read_form(self, request: Request) -> tuple[dict[str, list[bytes]], dict[str, list[str]]]:
        form = await read_form(request.stream(), request.headers["content-type"], self._limits)
        sent = [field for field in form if not field.is_empty]
        self._require_known((field.name for field in sent), self._accepted, "field")
        pictures: dict[str, list[bytes]] = {}
        fields: dict[str, list[str]] = {}
        for field in sent:
            if field.name in self._pictures:
                pictures.setdefault(field.name, []).append(_picture(field))
            else:
                fields.setdefault(field.name, []).append(_text(field))
        return pictures, fields

    async def _read_bare(self, request: Request) -> dict[str, list[bytes]]:
        media_type = media_type_of(request.headers)
        if media_type and not media_type.startswith(BARE):
            sent = media_type[:_MAX_QUOTED_CHARACTERS]
            detail = (
                f"A body of type {sent!r} is not accepted; send a multipart form, or the picture itself as the body."
            )
            raise Problem(Code.UNSUPPORTED_FORMAT, detail, accepted=[MULTIPART, "image/*"])
        body = await request.body()
        if media_type == _URL_ENCODED and body.partition(b"=")[0].decode("latin-1") in self._accepted:
            detail = "A form of this type carries no files; send it as multipart/form-data (`enctype` in HTML)."
            raise Problem(Code.UNSUPPORTED_FORMAT, detail, accepted=[MULTIPART, "image/*"])
        return {self._first.name: [body]} if body else {}

    @property
    def _accepted(self) -> list[str]:
        """The names of the form's fields, those of pictures first."""
        return [*self._pictures, *self._fields]

    def _require_known(self, names: Iterable[str], accepted: Collection[str], what: str) -> None:
        unknown = min((name for name in names if name not in accepted), default=None)
        if unknown is None:
            return
        unknown = unknown[:_MAX_QUOTED_CHARACTERS]
        pictures = _listed(self._pictures)
        detail = f"There is no {what} {unknown!r}; pictures are accepted as {pictures} in the form"
        detail += f", options as {_listed(self._fields)}." if self._fields else "."
        raise Problem(Code.INVALID_REQUEST, detail, field=unknown, fields=sorted(self._accepted))

    def _require_pictures(self, pictures: Mapping[str, Sequence[bytes]]) -> None:
        for name, picture in self._pictures.items():
            sent = pictures.get(name, ())
            if picture.required and not sent:
                raise Problem(
                    Code.INVALID_REQUEST, f"The picture {name!r} is missing; send it in the form.", field=name
                )
            if len(sent) > 1 and not picture.repeatable:
                raise Problem(
                    Code.INVALID_REQUEST, f"There is more than one picture {name!r}; send one per request.", field=name
                )
            if not picture.repeatable and not all(sent):
                raise Problem(
                    Code.UNREADABLE_IMAGE, f"The picture {name!r} is empty; choose a file with content.", field=name
                )

    def _validate(self, values: Values) -> OptionsT:
        single = {
            name: sent if _takes_many(self._fields[name].annotation) else sent[-1] for name, sent in values.items()
        }
        try:
            return self._options.model_validate(single)
        except ValidationError as error:
            problem = Problem(
                Code.INVALID_REQUEST, "Some options are invalid; `errors` lists them.", errors=invalid_fields(error)
            )
            raise problem from error


def _listed(names: Iterable[str]) -> str:
    *most, last = [repr(name) for name in names]
    return f"{', '.join(most)} and {last}" if most else last


def _takes_many(annotation: Any) -> bool:
    return get_origin(annotation) in (list, tuple, set, frozenset)


def _query_values(request: Request) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if value.strip():
            values.setdefault(name, []).append(value)
    return values


def _picture(field: FormField) -> bytes:
    if not field.is_file:
        raise Problem(Code.INVALID_REQUEST, f"The field {field.name!r} must be sent as a file.", field=field.name)
    return field.content


def _text(field: FormField) -> str:
    """Returns an option's text; it may come as a file, as `curl -F name=@file` sends it."""
    if len(field.content) > MAX_OPTION_BYTES:
        raise field_too_long(field.name, MAX_OPTION_BYTES)
    try:
        return field.content.decode()
    except UnicodeDecodeError as error:
        if not field.is_file:
            return field.content.decode("latin-1")
        raise Problem(
            Code.INVALID_REQUEST, f"The field {field.name!r} is not text in UTF-8.", field=field.name
        ) from error
