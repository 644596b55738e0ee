"""What a client sent: pictures and options out of a form, or a bare picture and options out of the address."""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Generic, get_origin

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from sightline.api.declaration import ModelDeclaration
from sightline.api.problems import Code, Problem
from sightline.http.problem_responses import invalid_fields
from sightline.inference.predictor import OptionsT, Upload

MULTIPART = "multipart/form-data"
_URL_ENCODED = "application/x-www-form-urlencoded"
# The last is what curl says of --data-binary, whatever it sends.
BARE = ("image/", "application/octet-stream", _URL_ENCODED)
MAX_OPTION_BYTES = 1 << 20
SPARE_FIELDS = 64
_MAX_QUOTED_CHARACTERS = 64  # of a field's name in an error

Values = Mapping[str, Sequence[str]]


class _MemoryParser(MultiPartParser):
    """Keeps pictures off the disk; the size of the whole body is limited before it gets here."""

    spool_max_size = sys.maxsize
    ended = False

    def on_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        # A form that is cut off leaves the file of its last part out of the result, and open.
        for file in self._files_to_close_on_error:
            file.close()


class UploadReader(Generic[OptionsT]):
    """Reads requests of one model."""

    def __init__(self, declaration: ModelDeclaration[OptionsT], *, max_pictures: int) -> None:
        self._pictures = {picture.name: picture for picture in declaration.pictures}
        self._first = declaration.pictures[0]
        self._options, self._max_pictures = declaration.options, max_pictures
        self._fields = {field.alias or name: field for name, field in declaration.options.model_fields.items()}

    async def read(self, request: Request) -> Upload[OptionsT]:
        """Raises Problem INVALID_REQUEST, UNREADABLE_IMAGE or UNSUPPORTED_FORMAT.

        Browsers send every field of a form: one without a chosen file or without text counts as absent.
        """
        _require_plain(request)
        query = _query_values(request)
        if _media_type(request) == MULTIPART:
            pictures, fields = await self._read_form(request)
        else:
            pictures, fields = await self._read_bare(request), {}
        self._require_known(query, self._fields, "query parameter")
        self._require_pictures(pictures)
        return Upload(pictures, self._validate({**query, **fields}))

    async def _read_form(self, request: Request) -> tuple[dict[str, list[bytes]], dict[str, list[str]]]:
        parser = _MemoryParser(
            request.headers,
            request.stream(),
            max_files=self._max_pictures,
            max_fields=SPARE_FIELDS,
            max_part_size=MAX_OPTION_BYTES,
        )
        try:
            return await self._sort(await _parse(parser))
        finally:
            parser.close()

    async def _sort(self, form: FormData) -> tuple[dict[str, list[bytes]], dict[str, list[str]]]:
        pictures: dict[str, list[bytes]] = {}
        fields: dict[str, list[str]] = {}
        sent = [(name, value) for name, value in form.multi_items() if not _is_absent(value)]
        self._require_known((name for name, _ in sent), self._accepted, "field")
        for name, value in sent:
            if name in self._pictures:
                pictures.setdefault(name, []).append(await _picture(name, value))
            else:
                fields.setdefault(name, []).append(await _text(name, value))
        return pictures, fields

    async def _read_bare(self, request: Request) -> dict[str, list[bytes]]:
        media_type = _media_type(request)
        if media_type and not media_type.startswith(BARE):
            sent = media_type[:_MAX_QUOTED_CHARACTERS]
            detail = f"A body of type {sent!r} is not accepted; send a form, or the bare picture."
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
                raise Problem(Code.INVALID_REQUEST, f"The picture {name!r} is missing.", field=name)
            if len(sent) > 1 and not picture.repeatable:
                raise Problem(Code.INVALID_REQUEST, f"There is more than one picture {name!r}.", field=name)
            if not picture.repeatable and not all(sent):
                raise Problem(Code.UNREADABLE_IMAGE, f"The picture {name!r} is empty.", field=name)

    def _validate(self, values: Values) -> OptionsT:
        single = {
            name: sent if _takes_many(self._fields[name].annotation) else sent[-1] for name, sent in values.items()
        }
        try:
            return self._options.model_validate(single)
        except ValidationError as error:
            problem = Problem(Code.INVALID_REQUEST, "Some options are not valid.", errors=invalid_fields(error))
            raise problem from error


def _listed(names: Iterable[str]) -> str:
    *most, last = [repr(name) for name in names]
    return f"{', '.join(most)} and {last}" if most else last


async def _parse(parser: _MemoryParser) -> FormData:
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(Code.INVALID_REQUEST, f"The form cannot be read: {error.message}") from error
    if not parser.ended:
        raise Problem(Code.INVALID_REQUEST, "The form ends before its last boundary.")
    return form


def _takes_many(annotation: Any) -> bool:
    return get_origin(annotation) in (list, tuple, set, frozenset)


def _require_plain(request: Request) -> None:
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        detail = f"The body is compressed ({coding[:_MAX_QUOTED_CHARACTERS]!r}); send it without Content-Encoding."
        raise Problem(Code.UNSUPPORTED_FORMAT, detail, accepted=["identity"])


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _query_values(request: Request) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if not _is_absent(value):
            values.setdefault(name, []).append(value)
    return values


def _is_absent(value: UploadFile | str) -> bool:
    """Whether a form's field was left empty. A file with a name was chosen: without content it is a fault."""
    return not value.strip() if isinstance(value, str) else not (value.filename or value.size)


async def _picture(name: str, value: UploadFile | str) -> bytes:
    if isinstance(value, str):
        raise Problem(Code.INVALID_REQUEST, f"The field {name!r} must be a file.", field=name)
    return await value.read()


async def _text(name: str, value: UploadFile | str) -> str:
    """An option's text; it may come as a file, as `curl -F name=@file` sends it."""
    if isinstance(value, str):
        return value
    data = await value.read(MAX_OPTION_BYTES + 1)
    try:
        return data[:MAX_OPTION_BYTES].decode()
    except UnicodeDecodeError as error:
        raise Problem(Code.INVALID_REQUEST, f"The field {name!r} is not text.", field=name) from error
