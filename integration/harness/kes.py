"""placeholder"""
class Kes: pass
