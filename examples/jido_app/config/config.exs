import Config

# Who cares for the agents: `:jido` as it was, `:kantoku` as it is. This line is the move. CARE is for the tests, which run with both.
config :desk, care: String.to_existing_atom(System.get_env("CARE", "kantoku"))

config :logger, level: :error
