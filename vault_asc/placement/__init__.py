"""Where the versions of a key are put, custody by custody, and whether a version that a note or record names is there.

    place      a place as a value
    placing    all custodies: putting, looking, what is refused before a write; KV
    transit    versions in Transit
    engine     versions in the asc engine
    ownership  whose a key is that lies there under the name of one of ours
    leftovers  what lies there and no record points to

Used by the commands of key owners (`lifecycle`, `moving`); nothing here writes a record. Writing is safe to repeat:
Transit and the engine are searched for the public key before anything is written, and KV keeps a further version at worst.
"""

from vault_asc.placement.engine import overtaken
from vault_asc.placement.leftovers import Leftover, Leftovers
from vault_asc.placement.place import Place, beside
from vault_asc.placement.placing import Placement

__all__ = ["Leftover", "Leftovers", "Place", "Placement", "beside", "overtaken"]
