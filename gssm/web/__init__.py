"""The web platform: maps, dates, series, predictions and downloads of archives in a browser."""
