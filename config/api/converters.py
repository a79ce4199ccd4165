"""Path converters; importing this registers them."""

from django.urls import register_converter
from django.urls.converters import UUIDConverter


class AnyCaseUUID(UUIDConverter):
    """Upper and lower case are read (RFC 9562, section 4); lower case is written."""

    regex = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"


register_converter(AnyCaseUUID, "anyuuid")
