"""The tree of results: its groups and what they hold, how verbs add to it, how it is read and kept on disk."""

from .groups import GROUPS as GROUPS
from .groups import describe as describe
from .practical import practical as practical
from .reading import attribute as attribute
from .reading import group as group
from .reading import verb_of as verb_of
from .schema import SchemaError as SchemaError
from .storage import Store as Store
from .storage import load as load
from .storage import save as save
from .tree import attach as attach
from .tree import check_tree as check_tree
from .tree import merge as merge
from .tree import start as start
