"""Subscriptions: what changes is pushed, over graphql-transport-ws and server-sent events.

A topic follows a service once for all who are subscribed (`wallets`, over an `upstream`); each subscriber has a mailbox
that does not grow; a `subscription` answers its document for each row in it, by the engine, as the viewer; `websocket`
and `events` carry that to the client.
"""
