"""Change a sample type, and still read what was written before."""

from __future__ import annotations

import atdata
from atdata.errors import DecodeError
from atdata.local import LocalIndex


class V1:
    """The type as it was last year."""

    class Reading(atdata.PackableSample):
        """A value of a sensor."""

        sensor: str
        celsius: float


class V2:
    """The type now: one field more, with a default."""

    class Reading(atdata.PackableSample):
        """A value of a sensor, and how it was calibrated."""

        sensor: str
        celsius: float
        calibration: str | None = None


class V3:
    """Another unit: data of the versions before do not fit."""

    class Reading(atdata.PackableSample):
        """A value of a sensor."""

        sensor: str
        kelvin: float


@atdata.lens
def in_kelvin(reading: V2.Reading) -> V3.Reading:
    """Old readings as new ones, while they are read."""
    return V3.Reading(reading.sensor, reading.celsius + 273.15)


def main() -> None:
    """Write with the first type; read with all three."""
    readings = [V1.Reading(f"s{i % 3}", 20 + i / 10) for i in range(50)]
    atdata.write_samples(readings, "readings.tar")

    # A field with a default: old data are read as they are.
    old = atdata.Dataset[V2.Reading]("readings.tar")
    print(f"read as V2: {old[0]}")

    # What changed, and whether old data stay readable.
    first = atdata.schema_of(V1.Reading, version="1.0.0")
    second = atdata.schema_of(V2.Reading, version="1.1.0")
    third = atdata.schema_of(V3.Reading, version="2.0.0")
    print(atdata.compare_schemas(first, second))
    print(atdata.compare_schemas(second, third))

    # A field of another name: an error says which sample and which field.
    try:
        list(atdata.Dataset[V3.Reading]("readings.tar"))
    except DecodeError as error:
        print(f"read as V3: {error}")

    # A lens shows the old data as the new type. Nothing is written again.
    new = old.as_type(V3.Reading)
    print(f"through the lens: {new[0]}")

    # An index keeps each version of a schema, and numbers them.
    with LocalIndex("index.db") as index:
        for version in (V1.Reading, V2.Reading, V3.Reading):
            print(index.publish_schema(version))


if __name__ == "__main__":
    main()
