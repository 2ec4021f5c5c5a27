"""What AWS charges: its price list, spot prices, and what they come to by the hour."""
