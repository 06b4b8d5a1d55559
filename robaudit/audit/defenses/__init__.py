"""What defenses buy: audits behind each, compared with one without."""
