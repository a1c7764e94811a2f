"""One exporter per leaderboard format."""
