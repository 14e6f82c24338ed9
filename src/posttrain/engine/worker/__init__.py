"""The warm worker and all it does to the processes of nodes: fork, watch, limit, end; `engine.local` talks to it."""
