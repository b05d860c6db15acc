"""Sample stories of your domain, which `make demo` and the rehearsals write.

They are never packaged for Lambda. Write `stories` with `Story` and `Poison` of
`dynamodb_streams_cdc.testing.stories`; the standard library is enough.
"""

from lambdas.example_domain.stories import stories as stories
