"""The demo's last part: which pairs AFM listens to, on generated ad clicks whose truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyfm.cli.showing import Output

_N_ROWS, _N_STRENGTH_ROWS, _N_STRONGEST = 100_000, 30_000, 6
_EXAMPLE = (("gender", "ad_category"), ("gender", "ad_size"))
"""A pair of fields that matters much, and one that does not matter at all."""


def show_attention(output: Output, *, seed: int) -> list[dict[str, Any]]:
    """Train AFM on generated clicks and print the attention and the strength of pairs beside what was planted.

    Returns
    -------
    list of dict
        Of every pair of fields, the strongest first: "fields", "attention" (mean weight over rows, which sum to 1),
        "strength" (standard deviation over rows of the interaction, in the logit) and "planted" (the same in truth).
    """
    from anyfm.datasets.synthetic import ad_clicks
    from anyfm.explain.interaction_strength import strengths
    from anyfm.explain.perturbation import sample
    from anyfm.training.callbacks import ProgressBar
    from anyfm.workflow import train_table

    made = ad_clicks(_N_ROWS, seed=seed)
    trained = train_table(made.columns, "click", model="afm", settings={"seed": seed}, callbacks=[ProgressBar()])
    encoder = trained.artifact.encoder
    assert encoder is not None
    found = strengths(trained.artifact, sample(trained.table.train, _N_STRENGTH_ROWS))
    assert found.attention is not None
    planted = {frozenset(pair["fields"]): pair["strength"] for pair in made.truth["pairs"]}
    pairs = []
    for place in (-found.interaction).argsort():
        fields = [encoder.field_names[at[place]] for at in (found.field_pairs.first, found.field_pairs.second)]
        pairs.append(
            {
                "fields": fields,
                "attention": float(found.attention[place]),
                "strength": float(found.interaction[place]),
                "planted": float(planted[frozenset(fields)]),
            }
        )
    _show(output, pairs)
    return pairs


def _show(output: Output, pairs: list[dict[str, Any]]) -> None:
    from anyfm.cli.showing import table

    output.results.print(
        f"\nWhich pairs does AFM listen to? On {_N_ROWS:,} generated ad clicks it is known what should come out:"
    )
    numbers = ("attention", "strength", "planted")
    shown = table("pair of fields", *numbers, numbers=numbers)
    examples = [set(example) for example in _EXAMPLE]
    for rank, pair in enumerate(pairs):
        if rank < _N_STRONGEST or set(pair["fields"]) in examples:
            shown.add_row(
                " × ".join(pair["fields"]),
                f"{pair['attention']:.1%}",
                f"{pair['strength']:.2f}",
                f"{pair['planted']:.2f}",
            )
    output.results.print(shown)
    output.results.print(
        f"Attention: the mean share of a row's weights, {1 / len(pairs):.1%} if all {len(pairs)} pairs were heard "
        "alike. Strength: how far the pair moves the logit."
    )
