"""What every benchmark uses: records, clients, meters and the table of results."""
