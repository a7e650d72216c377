"""Text that a terminal can show: control characters escaped, letters that it lacks spelled out in ASCII."""

import codecs
import unicodedata

TABLE = """
αalpha βbeta γgamma δdelta εepsilon ζzeta ηeta θtheta ιiota κkappa λlambda μmu νnu ξxi πpi ρrho σsigma τtau φphi χchi
ψpsi ωomega ΓGamma ΔDelta ΘTheta ΛLambda ΞXi ΠPi ΣSum ΦPhi ΨPsi ΩOmega ≤<= ≥>= ≠!= ≈~= ∼~ ∝~ ±+/- −- –- —- ×x ·* ⊙(*)
√sqrt ∇grad ∂d ∞inf ∫int ∈in ←<- →-> ⟹==> ′' °deg ⁄/ ⌈ceil( ⌉) ‖|| │| ─- ━= ╭+ ╮+ ╰+ ╯+ ▁_ ▂. ▃- ▄~ ▅= ▆+ ▇* █#
‘' ’' “" ”" \u0302^ \u0303~ \u0304_mean \u0307_dot
"""  # the last four are the hat, tilde, bar and dot over a letter
SPELLED = {pair[0]: pair[1:] for pair in TABLE.split()}  # what Unicode's own decompositions do not say


def visible(text: str) -> str:
    """`text` with what is not printable escaped: a name from outside cannot move the cursor, or feign another line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def spell(text: str) -> str:
    """`text` in ASCII: δ as delta, ≤ as <=, x² as x^2; "?" for a letter that has no such spelling."""
    spelled, raised = [], False
    for c in text:
        above = unicodedata.decomposition(c).startswith("<super>")
        spelled.append("^" + _letter(c) if above and not raised else _letter(c))
        raised = above
    return "".join(spelled)


def _letter(c: str) -> str:
    parts = unicodedata.normalize("NFKD", c)
    if c.isascii() or c in SPELLED:
        return SPELLED.get(c, c)
    if parts != c:
        return "".join(map(_letter, parts))
    if unicodedata.combining(c):
        return ""
    return "?" if c.isprintable() else visible(c)


def _spell_error(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spell(error.object[error.start : error.end]), error.end


codecs.register_error("minirl.spell", _spell_error)  # as a stream's `errors`: for all that is written to it
