"""A network below its public class."""
