defmodule Desk.Jido do
  @moduledoc "The app's instance of Jido. The second line lets Kantoku care for its agents; without an instance of that name it changes nothing."
  use Jido, otp_app: :desk
  use Kantoku.Jido.Migrated, instance: Desk.Agents
end
