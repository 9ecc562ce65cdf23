care = Application.fetch_env!(:desk, :care)

ExUnit.start(
  exclude: [:before_the_move, :after_the_move] -- [%{jido: :before_the_move, kantoku: :after_the_move}[care]]
)
