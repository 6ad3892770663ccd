"""The jobs of bench/rows.ts, in Python."""


def maker_of(shape):
    if shape == "row":
        return row
    if shape == "small":
        return lambda number: {"id": number}
    raise ValueError(f'Cannot make jobs: the shape "{shape}" is neither "small" nor "row".')


def row(number):
    return {
        "id": number,
        "title": f"How we moved {number} rows on a Sunday afternoon",
        "author": {"id": number % 1000, "name": "Ada Lovelace", "email": "ada@example.com"},
        "tags": ["databases", "migrations", "typescript"],
        "createdAt": 1_700_000_000_000 + number,
        "views": number * 7,
        "published": True,
        "slug": f"how-we-moved-{number}-rows",
    }
