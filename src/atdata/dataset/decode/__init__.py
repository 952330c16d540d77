"""Encoded pictures → one array of a batch, decoded by threads"""
