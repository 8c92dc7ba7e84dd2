"""What we show: tables to figures to one HTML page. No torch."""
