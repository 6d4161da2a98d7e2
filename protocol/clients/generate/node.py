def files(contract):
    return {}
